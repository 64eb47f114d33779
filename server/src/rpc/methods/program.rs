//! What the program is made of: its sources, functions, types, packages and libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Methods, RpcError};
use crate::debugger::{ClientPaths, Program};
use crate::host::{Host, HostError, Status};
use crate::inspect::Library;
use crate::location::pattern;
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{
    GuessSubstitutePathIn as ClientsPaths, Image, PackageBuildInfo, ReflectKind, TypeInfo, TypeInfoField,
    TypeInfoMethod,
};

wire! { "rpc2";
    /// Asks for source files.
    pub(crate) struct ListSourcesIn {
        /// A regular expression for their paths.
        filter: String = "Filter",
    }

    /// Answers it.
    pub(crate) struct ListSourcesOut {
        /// Their paths as the compiler knew them, sorted.
        sources: Slice<String> = "Sources",
    }

    /// Asks for functions.
    pub(crate) struct ListFunctionsIn {
        /// A regular expression for their names.
        filter: String = "Filter",
        /// How deep to follow the calls that they make: 1 for the functions themselves; 0: not at all.
        follow_calls: isize = "FollowCalls",
    }

    /// Answers it.
    pub(crate) struct ListFunctionsOut {
        /// Their names, sorted.
        functions: Slice<String> = "Funcs",
    }

    /// Asks for types.
    pub(crate) struct ListTypesIn {
        /// A regular expression for their names.
        filter: String = "Filter",
    }

    /// Answers it.
    pub(crate) struct ListTypesOut {
        /// Their names, sorted.
        types: Slice<String> = "Types",
    }

    /// Asks what a type is made of.
    pub(crate) struct TypeInfoIn {
        /// Its name.
        name: String = "Name",
    }

    /// Answers it.
    pub(crate) struct TypeInfoOut {
        /// The type.
        type_info: Option<Box<TypeInfo>> = "TypeInfo",
    }

    /// Asks for packages.
    pub(crate) struct ListPackagesBuildInfoIn {
        /// Whether their files are wanted.
        include_files: bool = "IncludeFiles",
        /// A regular expression for their import paths.
        filter: String = "Filter",
    }

    /// Answers it.
    pub(crate) struct ListPackagesBuildInfoOut {
        /// The packages, sorted by import path.
        list: Slice<PackageBuildInfo> = "List",
    }

    /// Asks where a function returns.
    pub(crate) struct FunctionReturnLocationsIn {
        /// Its name.
        function: String = "FnName",
    }

    /// Answers it.
    pub(crate) struct FunctionReturnLocationsOut {
        /// Its `ret` instructions, then its calls of `runtime.deferreturn`.
        addrs: Slice<u64> = "Addrs",
    }

    /// Asks for the shared libraries.
    pub(crate) struct ListDynamicLibrariesIn {}

    /// Answers it.
    pub(crate) struct ListDynamicLibrariesOut {
        /// The libraries.
        list: Slice<Image> = "List",
        /// Whether the program was built with `-trimpath`.
        executable_trimpath: bool = "ExecutableTrimpath",
    }

    /// Asks for the build id.
    pub(crate) struct BuildIDIn {}

    /// Answers it.
    pub(crate) struct BuildIDOut {
        /// The id that the linker gave the program (`.note.gnu.build-id`), in hexadecimal; empty where there is none.
        build_id: String = "BuildID",
    }

    /// Asks which of the client's directories are which of those that the program was built in.
    pub(crate) struct GuessSubstitutePathIn {
        /// What the client knows of its own.
        args: ClientsPaths = "Args",
    }

    /// Answers it.
    pub(crate) struct GuessSubstitutePathOut {
        /// Pairs of a directory of the program's sources and the client's.
        list: Slice<[String; 2]> = "List",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.ListSources",
        "The source files that the program was built from.",
        list_sources,
    );
    methods.add(
        "RPCServer.ListFunctions",
        "The program's functions, or those that they call.",
        list_functions,
    );
    methods.add("RPCServer.ListTypes", "The program's types.", list_types);
    methods.add("RPCServer.TypeInfo", "What a type is made of.", type_info);
    methods.add(
        "RPCServer.ListPackagesBuildInfo",
        "The packages that the program is made of, and where they were built.",
        list_packages_build_info,
    );
    methods.add(
        "RPCServer.FunctionReturnLocations",
        "The addresses at which a function returns.",
        function_return_locations,
    );
    methods.add(
        "RPCServer.ListDynamicLibraries",
        "The shared libraries of the process.",
        list_dynamic_libraries,
    );
    methods.add("RPCServer.BuildID", "The build id of the program.", build_id);
    methods.add(
        "RPCServer.GuessSubstitutePath",
        "Guesses which directories of a client are which of those that the program was built in.",
        guess_substitute_path,
    );
}

/// The program, once the target does not run, as Delve lets such requests wait. `None` after the target's end, when Delve lists nothing.
fn program(host: &Host) -> Result<Option<Program>, RpcError> {
    match host.at_rest() {
        Ok(rest) => Ok(Some(rest.session.program()?)),
        Err(HostError::Exited { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The programs of all targets, each once.
fn programs(host: &Host) -> Result<Vec<Program>, RpcError> {
    let rest = match host.at_rest() {
        Ok(rest) => rest,
        Err(HostError::Exited { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut programs: Vec<Program> = Vec::new();
    for target in rest.targets()? {
        let program = target.session.program()?;
        let is_known = |known: &Program| std::ptr::eq(known.binary(), program.binary());
        if !programs.iter().any(is_known) {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// The program, also after the target's end.
fn last_program(host: &Host) -> Result<Program, RpcError> {
    match program(host)? {
        Some(program) => Ok(program),
        None => Ok(host.last_session()?.program()?),
    }
}

fn filter(text: &str) -> Result<regex::Regex, RpcError> {
    Ok(pattern::compile(text).map_err(|why| format!("invalid filter argument: {why}"))?)
}

fn list_sources(host: &Host, asked: &ListSourcesIn) -> Result<ListSourcesOut, RpcError> {
    let wanted = filter(&asked.filter)?;
    let programs = programs(host)?;
    let files = programs.iter().flat_map(|program| program.binary().files());
    let sources: BTreeSet<&str> = files.map(|file| &**file).filter(|file| wanted.is_match(file)).collect();
    Ok(ListSourcesOut {
        sources: sources.into_iter().map(str::to_owned).collect(),
    })
}

fn list_functions(host: &Host, asked: &ListFunctionsIn) -> Result<ListFunctionsOut, RpcError> {
    let wanted = filter(&asked.filter)?;
    let programs = programs(host)?;
    let mut found = BTreeSet::new();
    for program in &programs {
        let names = program.function_names();
        let names = names.into_iter().filter(|name| wanted.is_match(name));
        let depth = usize::try_from(asked.follow_calls).unwrap_or_default();
        for name in names {
            // One that was only ever inlined has no code of its own to follow.
            found.insert(name);
            if depth > 0 {
                for function in program.binary().functions_named(name) {
                    program.reached_from(function, depth, &mut found);
                }
            }
        }
    }
    let functions: Vec<String> = found.into_iter().map(str::to_owned).collect();
    Ok(ListFunctionsOut {
        functions: functions.into(),
    })
}

fn list_types(host: &Host, asked: &ListTypesIn) -> Result<ListTypesOut, RpcError> {
    let wanted = filter(&asked.filter)?;
    let programs = programs(host)?;
    let names = programs.iter().flat_map(|program| program.binary().type_names());
    let types: BTreeSet<&str> = names.filter(|name| wanted.is_match(name)).collect();
    Ok(ListTypesOut {
        types: types.into_iter().map(str::to_owned).collect(),
    })
}

fn type_info(host: &Host, asked: &TypeInfoIn) -> Result<TypeInfoOut, RpcError> {
    let facts = last_program(host)?
        .type_facts(&asked.name)
        .ok_or("no type entry found, use 'types' for a list of valid types")?;
    let fields = facts.fields.into_iter();
    let fields = fields.map(|(name, type_name)| TypeInfoField { name, type_name });
    let methods = facts.methods.into_iter().map(|name| TypeInfoMethod { name });
    Ok(TypeInfoOut {
        type_info: Some(Box::new(TypeInfo {
            kind: ReflectKind(facts.kind),
            size: i64::try_from(facts.size).unwrap_or(i64::MAX),
            real_type: String::new(),
            fields: Slice::nil_if_empty(fields.collect()),
            methods: Slice::nil_if_empty(methods.collect()),
        })),
    })
}

fn list_packages_build_info(
    host: &Host,
    asked: &ListPackagesBuildInfoIn,
) -> Result<ListPackagesBuildInfoOut, RpcError> {
    let wanted = match &*asked.filter {
        "" => None,
        text => Some(pattern::compile(text).map_err(|why| format!("invalid Filter pattern: {why}"))?),
    };
    let packages = last_program(host)?.binary().packages();
    let mut list = Vec::new();
    for package in packages {
        if wanted.as_ref().is_some_and(|wanted| !wanted.is_match(&package.path)) {
            continue;
        }
        let first = Path::new(&*package.first_file);
        let directory = first
            .parent()
            .map_or_else(String::new, |directory| directory.to_string_lossy().into_owned());
        let files = package.files.iter().map(ToString::to_string).collect();
        list.push(PackageBuildInfo {
            import_path: package.path,
            directory_path: if directory.is_empty() {
                ".".to_owned()
            } else {
                directory
            },
            files: if asked.include_files {
                Slice::nil_if_empty(files)
            } else {
                Slice(None)
            },
        });
    }
    Ok(ListPackagesBuildInfoOut { list: list.into() })
}

fn function_return_locations(
    host: &Host,
    asked: &FunctionReturnLocationsIn,
) -> Result<FunctionReturnLocationsOut, RpcError> {
    let returns = last_program(host)?.returns_of(&asked.function);
    let returns = returns.ok_or_else(|| format!("could not find function {}\n", asked.function))?;
    Ok(FunctionReturnLocationsOut {
        addrs: Slice::nil_if_empty(returns.into_iter().map(|addr| addr.0).collect()),
    })
}

fn list_dynamic_libraries(host: &Host, _: &ListDynamicLibrariesIn) -> Result<ListDynamicLibrariesOut, RpcError> {
    let program = last_program(host)?;
    let libraries = match host.at_rest() {
        Ok(rest) => rest.session.libraries()?,
        Err(_) => Vec::new(),
    };
    let of = |library: Library| Image {
        path: library.path,
        address: library.addr.0,
        ..Image::default()
    };
    Ok(ListDynamicLibrariesOut {
        list: libraries.into_iter().map(of).collect(),
        executable_trimpath: program.binary().build_setting("-trimpath") == Some("true"),
    })
}

fn build_id(host: &Host, _: &BuildIDIn) -> Result<BuildIDOut, RpcError> {
    let program = last_program(host)?;
    // The id is that of the file in which the thread stands, which after the target's end is none.
    let id = match host.status() {
        Status::Exited { .. } | Status::Detached => None,
        Status::Stopped | Status::Running => program.binary().build_id().gnu,
    };
    let digits = id.unwrap_or_default().into_iter().map(|byte| format!("{byte:02x}"));
    Ok(BuildIDOut {
        build_id: digits.collect(),
    })
}

fn guess_substitute_path(host: &Host, asked: &GuessSubstitutePathIn) -> Result<GuessSubstitutePathOut, RpcError> {
    let modules: BTreeMap<String, String> = asked.args.client_module_directories.0.clone().unwrap_or_default();
    let client = ClientPaths {
        main_package: asked.args.import_path_of_main_package.clone(),
        goroot: asked.args.client_goroot.clone(),
        modules,
    };
    let rest = host.at_rest();
    let pairs = match rest {
        Ok(rest) => rest.session.guess_paths(&client)?,
        Err(HostError::Exited { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let pairs = pairs.into_iter().map(|(client, server)| [server, client]);
    Ok(GuessSubstitutePathOut {
        list: Slice::nil_if_empty(pairs.collect()),
    })
}
