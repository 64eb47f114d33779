//! Functions of the program, called from the debug console; strings that are set.

use serde_json::{Value, json};

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::{Build, Built};
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("calling: results", results),
    scenario("calling: assignments", assignments),
    scenario("calling: strings are set", strings),
    scenario("calling: what is refused", refused),
    scenario("calling: by context", contexts),
    scenario("calling: panics", panics),
    scenario("calling: a breakpoint inside", stops),
    scenario("calling: a string set by a function that is stopped", set_stopped),
    scenario("calling: a string set by a function that panics", set_panics),
    scenario("calling: the end", ends),
];

fn at(play: &mut Play) -> Result<Built> {
    let built = play.fixture("callees", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// breakpoint here"])?;
    play.run()?;
    play.stack(0, 20)?;
    Ok(built)
}

/// `call` in the console, each time with a look at what has come of it.
fn call(play: &mut Play, expression: &str) -> Result<()> {
    let answer = play.evaluate(&format!("call {expression}"), 0, "repl")?.body;
    for result in play.expand(&answer["variablesReference"])? {
        play.expand_all(&result, 2)?;
    }
    Ok(())
}

fn results(play: &mut Play) -> Result<()> {
    at(play)?;
    for expression in [
        "add(one, two)",
        "nothing(5)",
        "both(1, \"lit\")",
        "tell()",
        "half(x, y)",
        "join(words, \" \")",
        "numbers(3)",
        "makePoint(3)",
        "newPoint(5)",
        "asNamer(2)",
        "p.Sum(1)",
        "q.Name(\"q\")",
        "closure(2)",
        "swap(pr)",
        "many(1,2,3,4,5,6,7,8,9,10)",
        "long(10)",
        "long(200)",
        "add(add(one, 2), 3) + one",
        "one",
        "one == two",
    ] {
        call(play, expression)?;
    }
    play.stack(0, 2)?;
    play.variables(0)?;
    play.go("next")?;
    play.stack(0, 2)?;
    play.end(json!({}))
}

fn assignments(play: &mut Play) -> Result<()> {
    at(play)?;
    for assignment in [
        "one = add(two, 5)",
        "str = \"longer than before\"",
        "comma=\",,\"",
        "words[1] = join(words, comma)",
        "pp = newPoint(8)",
        "counted = 3",
        "one = \"text\"",
        "one = ",
    ] {
        call(play, assignment)?;
    }
    play.stack(0, 2)?;
    play.variables(0)?;
    play.end(json!({}))
}

/// The reference of the local variables, and `setVariable` of one.
fn locals(play: &mut Play, frame: usize) -> Result<Value> {
    let scopes = play.ask("scopes", json!({"frameId": play.frame(frame)}))?.body;
    Ok(scopes["scopes"][0]["variablesReference"].clone())
}

fn set(play: &mut Play, reference: &Value, name: &str, value: &str) -> Result<()> {
    let arguments = json!({"variablesReference": reference, "name": name, "value": value});
    play.ask("setVariable", arguments)?;
    Ok(())
}

fn strings(play: &mut Play) -> Result<()> {
    at(play)?;
    let locals = locals(play, 0)?;
    let variables = play.expand(&locals)?;
    for (name, value) in [
        ("str", "\"longer than before\""),
        ("str", "str + \"!\""),
        ("str", "\"\""),
        ("str", "comma"),
        ("str", "join(words, \"-\")"),
        ("str", "`raw`"),
        ("str", "one"),
        ("str", "unquoted text"),
        ("str", "1 +"),
        ("str", "undefined"),
        ("str", "both(1, str)"),
        ("one", "add(1, 2)"),
    ] {
        set(play, &locals, name, value)?;
        play.evaluate("str", 0, "watch")?;
    }
    let words = variables.iter().find(|variable| variable["name"] == "words");
    let words = words.map_or(Value::Null, |words| words["variablesReference"].clone());
    play.expand(&words)?;
    set(play, &words, "[1]", "\"element\"")?;
    play.evaluate("words", 0, "watch")?;
    play.go("next")?;
    play.stack(0, 2)?;
    play.variables(0)?;
    play.end(json!({}))
}

fn refused(play: &mut Play) -> Result<()> {
    at(play)?;
    for expression in [
        "add(1)",
        "add(\"a\", 1)",
        "undefined(1)",
        "one(1)",
        "nilf()",
        "keep(&p)",
        "1 +",
        "add(both(1, str))",
    ] {
        call(play, expression)?;
    }
    play.evaluate("call", 0, "repl")?;
    play.evaluate("call ", 0, "repl")?;
    play.evaluate("  call   add(1, 2)", 0, "repl")?;
    play.evaluate("call add(1, 2)", 1, "repl")?;
    play.ask(
        "evaluate",
        json!({"expression": "call add(1, 2)", "frameId": 4711, "context": "repl"}),
    )?;
    play.end(json!({}))
}

fn contexts(play: &mut Play) -> Result<()> {
    at(play)?;
    for context in ["repl", "watch", "variables", "clipboard", ""] {
        play.evaluate("add(1, 2)", 0, context)?;
        play.evaluate("p.Sum(one)", 0, context)?;
        play.evaluate("call add(1, 2)", 0, context)?;
        play.evaluate("str == \"text\"", 0, context)?;
    }
    play.evaluate("add(1, 2)", 0, "hover")?;
    play.end(json!({}))
}

fn panics(play: &mut Play) -> Result<()> {
    at(play)?;
    for expression in [
        "fails(\"boom\")",
        "divides(one, two - 2)",
        "nilp.Name(\"x\")",
        "add(1, 2)",
    ] {
        call(play, expression)?;
        play.stack(0, 2)?;
    }
    play.end(json!({}))
}

fn stops(play: &mut Play) -> Result<()> {
    let built = at(play)?;
    play.stop_at(&built, &["// in stops"])?;
    play.evaluate("call stops(2)", 0, "repl")?;
    play.arrive()?;
    play.stack(0, 2)?;
    play.variables(0)?;
    play.evaluate("call add(1, 2)", 0, "repl")?;
    play.go("next")?;
    play.stack(0, 2)?;
    play.go("continue")?;
    // Delve names no goroutine here.
    play.stack_of(1, 0, 2)?;
    play.end(json!({}))
}

fn set_stopped(play: &mut Play) -> Result<()> {
    let built = at(play)?;
    play.stop_at(&built, &["// in stops"])?;
    let locals = locals(play, 0)?;
    set(play, &locals, "str", "words[stops(0)]")?;
    play.arrive()?;
    play.stack(0, 2)?;
    play.go("continue")?;
    // Delve names no goroutine here.
    play.stack_of(1, 0, 2)?;
    play.evaluate("str", 0, "watch")?;
    play.end(json!({}))
}

fn set_panics(play: &mut Play) -> Result<()> {
    at(play)?;
    let locals = locals(play, 0)?;
    set(play, &locals, "str", "words[fails(str)]")?;
    play.arrive()?;
    play.stack(0, 2)?;
    play.evaluate("str", 0, "watch")?;
    play.end(json!({}))
}

fn ends(play: &mut Play) -> Result<()> {
    at(play)?;
    play.evaluate("call leaves(3)", 0, "repl")?;
    play.arrive()?;
    play.end(json!({}))
}
