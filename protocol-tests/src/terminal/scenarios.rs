//! All sessions, and those that set breakpoints and move the program: what is typed.

use super::play::TerminalPlay;
use super::{ending, looking};
use crate::failure::Result;
use crate::transcripts::{Scenario, Script};

/// What is done in some sessions.
type Play = fn(&mut TerminalPlay) -> Result<()>;

/// All sessions.
pub fn all() -> Vec<Scenario> {
    const ALL: &[(&str, Play)] = &[
        ("connect: a whole session", whole),
        ("connect: breakpoints", breakpoints),
        ("connect: a breakpoint where the program stands", where_it_stands),
        ("connect: conditions", conditions),
        ("connect: tracepoints and on", tracepoints),
        ("connect: values", looking::values),
        ("connect: calls", looking::calls),
        ("connect: frames", looking::frames),
        ("connect: goroutines", looking::goroutines),
        ("connect: steps", steps),
        ("connect: a step out of the first function", out_of_nothing),
        ("connect: code and registers", looking::code),
        ("connect: what the program has", looking::program),
        ("connect: restarts", ending::restarts),
        ("connect: mistakes", ending::mistakes),
        ("connect: ends", ending::ends),
        ("connect: a failing program", ending::failing),
        ("connect: scripts", ending::scripts),
        ("connect: children", ending::children),
    ];
    ALL.iter()
        .map(|(name, play)| Scenario {
            name,
            script: Script::Terminal(*play),
        })
        .collect()
}

/// Ends a session and the server.
const EXIT: [&str; 2] = ["exit", "y"];

pub(super) fn commands<'a>(before: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(EXIT).collect()
}

fn whole(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "break main.main",
            "break twice main.twice",
            "break main.go:43",
            "condition 3 i == 2",
            "on 3 print sum",
            "on 3 stack 2",
            "trace main.square",
            "breakpoints",
            "continue",
            "list",
            "continue",
            "print n",
            "locals",
            "next",
            "next",
            "args",
            "locals",
            "stepout",
            "vars ^main\\.",
            "stack",
            "stack 2 -full",
            "frame 0 locals",
            "up",
            "down",
            "frame 1",
            "frame 0",
            "goroutine",
            "display -a n",
            "step",
            "continue",
            "print i, sum",
            "print sum",
            "whatis sum",
            "frame 1 print a",
            "disassemble -l main.square",
            "regs",
            "sources main\\.go$",
            "funcs ^main\\.",
            "types ^main\\.",
            "display",
            "display -d 0",
            "clear 3",
            "clearall",
            "continue",
            "restart",
            "break main.loop",
            "continue",
            "list",
            "next",
            "step",
            "stepout",
        ]),
    )
}

fn breakpoints(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "break main.main",
            "b main.go:22",
            "break named main.loop",
            "break named main.closes",
            "break five5 main.go:30",
            "break main.go:1",
            "break main.go",
            "break nothing",
            "break main.nothing",
            "break /^main\\.(deep|risky)$/",
            "break *0x10",
            "break largest",
            "break Add",
            "break main.main",
            "break main.go:40 if i == 3",
            "break main.go:41 if nothing >",
            "breakpoints",
            "toggle named",
            "toggle 1",
            "toggle 1",
            "toggle nothing",
            "breakpoints",
            "clear named",
            "clear 77",
            "clear",
            "continue",
            "break +2",
            "break 95",
            "continue",
            "clearall main.main",
            "breakpoints",
            "clearall nothing",
            "clearall",
            "breakpoints",
            "tbreak main.loop",
            "break -h main.loop",
            "continue main.closes",
            "continue",
        ]),
    )
}

fn where_it_stands(play: &mut TerminalPlay) -> Result<()> {
    play.session("walks", &[], &commands(&["break main.main", "break", "continue"]))
}

fn out_of_nothing(play: &mut TerminalPlay) -> Result<()> {
    play.session("walks", &[], &commands(&["stepout"]))
}

fn conditions(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "break body main.go:43",
            "condition body i == 1",
            "condition 1 i > 1 && sum > 0",
            "condition 7 i == 1",
            "condition",
            "condition 1",
            "condition body i ==",
            "condition body i > 1 && sum > 0",
            "breakpoints",
            "continue",
            "print i",
            "condition -hitcount body > 3",
            "condition -per-g-hitcount body == 4",
            "condition -clear body",
            "breakpoints",
            "continue",
            "print i",
            "condition -hitcount body % 2",
            "continue",
            "breakpoints",
            "condition -hitcount body wrong",
            "breakpoints",
            "continue",
        ]),
    )
}

fn tracepoints(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "trace main.square",
            "trace t2 main.go:45",
            "trace nothing",
            "on 1 print n",
            "on t2 args",
            "on t2 locals -v",
            "on t2 goroutine",
            "on 1",
            "on t2",
            "on t2 nothing",
            "on 7 print n",
            "on 1 -edit",
            "break main.defers",
            "on 3 stack 1",
            "on 3 cond -hitcount > 0",
            "breakpoints",
            "continue",
            "breakpoints",
            "trace main.guarded",
            "trace /^main\\.(risky|largest)/",
            "continue",
            "continue",
        ]),
    )
}

fn steps(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "break main.main",
            "next",
            "next",
            "n 3",
            "next nothing",
            "step",
            "s",
            "step-instruction",
            "si",
            "next-instruction",
            "ni 3",
            "continue main.twice",
            "stepout",
            "break main.square",
            "next 5",
            "next",
            "breakpoints",
            "clearall",
            "continue main.go:57",
            "next",
            "next",
            "next",
            "next",
            "continue nothing",
            "continue",
        ]),
    )
}
