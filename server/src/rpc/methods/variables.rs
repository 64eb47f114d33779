//! Variables and expressions.

use super::{Methods, RpcError, scope};
use crate::host::Host;
use crate::location::pattern;
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{EvalScope, LoadConfig, Variable};
use crate::value::{self, Value};

wire! { "rpc2";
    /// Asks for the local variables of a frame.
    pub(crate) struct ListLocalVarsIn {
        /// Which frame.
        scope: EvalScope = "Scope",
        /// How far to load them.
        config: LoadConfig = "Cfg",
    }

    /// Answers it.
    pub(crate) struct ListLocalVarsOut {
        /// The variables, outer blocks first.
        variables: Slice<Variable> = "Variables",
    }

    /// Asks for the parameters and results of a frame's function.
    pub(crate) struct ListFunctionArgsIn {
        /// Which frame.
        scope: EvalScope = "Scope",
        /// How far to load them.
        config: LoadConfig = "Cfg",
    }

    /// Answers it.
    pub(crate) struct ListFunctionArgsOut {
        /// The parameters and results.
        args: Slice<Variable> = "Args",
    }

    /// Asks for the variables of packages.
    pub(crate) struct ListPackageVarsIn {
        /// A regular expression for their names, which begin with the package.
        filter: String = "Filter",
        /// How far to load them.
        config: LoadConfig = "Cfg",
    }

    /// Answers it.
    pub(crate) struct ListPackageVarsOut {
        /// The variables.
        variables: Slice<Variable> = "Variables",
    }

    /// Asks for the value of an expression.
    pub(crate) struct EvalIn {
        /// In which frame.
        scope: EvalScope = "Scope",
        /// The expression, in Go.
        expression: String = "Expr",
        /// How far to load the value.
        config: Option<Box<LoadConfig>> = "Cfg",
    }

    /// Answers it.
    pub(crate) struct EvalOut {
        /// The value.
        variable: Option<Box<Variable>> = "Variable",
    }

    /// Asks for an assignment.
    pub(crate) struct SetIn {
        /// In which frame.
        scope: EvalScope = "Scope",
        /// What is to be set: an expression that names a place.
        symbol: String = "Symbol",
        /// The value, an expression.
        value: String = "Value",
    }

    /// Says that it is done.
    pub(crate) struct SetOut {}
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.ListLocalVars",
        "The local variables of a frame.",
        list_local_vars,
    );
    methods.add(
        "RPCServer.ListFunctionArgs",
        "The parameters and results of a frame's function.",
        list_function_args,
    );
    methods.add(
        "RPCServer.ListPackageVars",
        "The variables of all packages whose names fit a regular expression.",
        list_package_vars,
    );
    methods.add("RPCServer.Eval", "The value of an expression in a frame.", eval);
    methods.add("RPCServer.Set", "Assigns a value to a variable.", set);
}

/// How far to load; without a wish, as Delve does for itself (`LoadFullValue` in `pkg/proc/variables.go`).
pub(super) fn load_config(config: Option<&LoadConfig>) -> value::LoadConfig {
    config.map_or(value::LoadConfig::FULL, LoadConfig::limits)
}

/// Values as clients see them.
pub(super) fn variables_of(values: &[Value]) -> Vec<Variable> {
    values.iter().map(Variable::of).collect()
}

/// The variables of a frame: parameters and results, or else the others.
fn variables(host: &Host, at: &EvalScope, config: &LoadConfig, parameters: bool) -> Result<Slice<Variable>, RpcError> {
    let rest = host.at_rest()?;
    let frame = scope::frame(&rest, at)?;
    let variables = rest.session.frame_variables(frame, config.limits())?;
    let wanted = variables
        .iter()
        .filter(|scoped| (scoped.is_parameter || scoped.is_result) == parameters);
    Ok(wanted.map(|scoped| Variable::of(&scoped.value)).collect())
}

fn list_local_vars(host: &Host, asked: &ListLocalVarsIn) -> Result<ListLocalVarsOut, RpcError> {
    let variables = variables(host, &asked.scope, &asked.config, false)?;
    Ok(ListLocalVarsOut { variables })
}

fn list_function_args(host: &Host, asked: &ListFunctionArgsIn) -> Result<ListFunctionArgsOut, RpcError> {
    let args = variables(host, &asked.scope, &asked.config, true)?;
    Ok(ListFunctionArgsOut { args })
}

fn list_package_vars(host: &Host, asked: &ListPackageVarsIn) -> Result<ListPackageVarsOut, RpcError> {
    let wanted = pattern::compile(&asked.filter).map_err(|why| format!("invalid filter argument: {why}"))?;
    let rest = host.at_rest()?;
    let variables = rest
        .session
        .all_package_variables(Box::new(move |name| wanted.is_match(name)), asked.config.limits())?;
    Ok(ListPackageVarsOut {
        variables: variables_of(&variables).into(),
    })
}

fn eval(host: &Host, asked: &EvalIn) -> Result<EvalOut, RpcError> {
    let rest = host.at_rest()?;
    let frame = scope::frame(&rest, &asked.scope)?;
    let config = load_config(asked.config.as_deref());
    let value = rest.session.evaluate(frame, &asked.expression, config)?;
    Ok(EvalOut {
        variable: Some(Box::new(Variable::of(&value))),
    })
}

fn set(host: &Host, asked: &SetIn) -> Result<SetOut, RpcError> {
    let rest = host.at_rest()?;
    let frame = scope::frame(&rest, &asked.scope)?;
    rest.session.set_variable(frame, &asked.symbol, &asked.value)?;
    Ok(SetOut {})
}
