//! Sessions of programs that end, begin anew, fail or start others, and of mistakes.

use super::play::TerminalPlay;
use super::scenarios::commands;
use crate::failure::{Attempt, Result};

pub(super) fn restarts(play: &mut TerminalPlay) -> Result<()> {
    let output = play.scratch().join("written");
    play.session(
        "walks",
        &["exit"],
        &commands(&[
            "break main.deep",
            "break main.loop",
            "condition 2 limit > 0",
            "continue",
            "continue",
            "stack",
            "restart",
            "restart deep",
            "continue",
            "stack 2",
            "clear 1",
            "restart -noargs",
            "continue",
            "breakpoints",
            &format!("restart hard one \"two three\" >{}", output.display()),
            "continue",
            "next",
            "restart",
            "restart <nothing/at/all",
            "restart >one >two",
            "restart -nothing",
            "rebuild",
            "continue",
        ]),
    )
}

pub(super) fn mistakes(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "nothing",
            "",
            "stack",
            "locals",
            "args",
            "print 1 + 2",
            "print n",
            "list",
            "goroutines -with user",
            "goroutine",
            "threads",
            "up",
            "frame 1",
            "regs nothing",
            "disassemble",
            "clear 5",
            "condition 5 x",
            "toggle 5",
            "on 5 print x",
            "display -a",
            "set x",
            "types [",
            "vars [",
            "continue",
            "continue",
            "next",
            "step",
            "stack",
            "print 1",
            "locals",
            "goroutines",
            "breakpoints",
            "break main.main\ny",
            "list main.main",
            "funcs ^main\\.tw",
            "regs",
            "threads",
        ]),
    )
}

pub(super) fn ends(play: &mut TerminalPlay) -> Result<()> {
    play.session("walks", &[], &["break main.main", "continue", "exit", "y"])?;
    play.session("walks", &["exit"], &["continue", "exit", "y"])?;
    play.session("walks", &[], &["quit", ""])?;
    play.session("exits", &["kill"], &["continue", "exit", "y"])?;
    play.session("exits", &["term"], &["continue", "exit", "y"])
}

pub(super) fn failing(play: &mut TerminalPlay) -> Result<()> {
    for how in ["text", "nil", "unlock", "struct", "goroutine"] {
        play.session(
            "fails",
            &[how],
            &commands(&[
                "continue",
                "stack 12",
                "list",
                "frame 0",
                "breakpoints",
                "continue",
                "continue",
            ]),
        )?;
    }
    play.session(
        "walks",
        &["hard"],
        &commands(&["continue", "stack 2", "next", "continue"]),
    )
}

pub(super) fn scripts(play: &mut TerminalPlay) -> Result<()> {
    let script = play.scratch().join("script.star");
    std::fs::write(
        &script,
        r#"
def command_walk(args):
    "Walks to a function."
    bp = create_breakpoint({"FunctionName": args, "Line": -1}).Breakpoint
    dlv_command("continue")
    state = get_state().State
    print(state.CurrentThread.Function.Name_, state.CurrentThread.Line)
    for frame in stacktrace(-1, 5, False, False).Locations:
        print(frame.Line)
    clear_breakpoint(bp.ID)
    print(eval(None, "1 + 2").Variable.Value)

def main():
    command_walk("main.twice")
    n = eval(None, "n").Variable
    print(n.Value, n.Type)
    print([v.Name for v in local_vars(None).Variables])
    print(len(functions("^main\\.").Funcs), len(breakpoints().Breakpoints))
"#,
    )
    .attempt("writing a script")?;
    play.session(
        "walks",
        &[],
        &commands(&[
            &format!("source {}", script.display()),
            "walk main.loop",
            "help walk",
            "source /nowhere/at/all",
            "stack 1",
        ]),
    )
}

pub(super) fn children(play: &mut TerminalPlay) -> Result<()> {
    let walks = play.fixture("walks")?.program.to_string_lossy().into_owned();
    play.session(
        "spawns",
        &["run", &walks],
        &commands(&[
            "target",
            "target nothing",
            "target follow-exec",
            "target follow-exec -x",
            "target follow-exec -off more",
            "target follow-exec -on [",
            "target follow-exec",
            "target follow-exec -on walks",
            "target follow-exec",
            "target list",
            // The question whether it is to wait for a child is answered on the next line.
            "break main.twice\ny",
            "break main.nowhere\nn",
            "break main.finish",
            "break main.nothing:7 if i == 1\ny",
            "breakpoints",
            "continue",
            "target switch 1",
            "args",
            "stack",
            "goroutine",
            "next",
            "up",
            "down",
            "stepout",
            "breakpoints",
            "break main.square",
            "continue",
            "clear 1",
            "target follow-exec -off",
            "continue",
            "target list",
            "continue",
            "target list",
            "restart",
        ]),
    )?;
    play.session(
        "spawns",
        &["children", "2"],
        &commands(&[
            "target follow-exec -on member C1",
            "break main.member",
            "break main.finish",
            "continue",
            "restart",
            "target follow-exec",
            "continue",
        ]),
    )
}
