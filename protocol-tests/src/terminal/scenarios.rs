//! What is typed.

use super::play::TerminalPlay;
use crate::failure::{Attempt, Result};
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
        ("connect: values", values),
        ("connect: frames", frames),
        ("connect: goroutines", goroutines),
        ("connect: steps", steps),
        ("connect: a step out of the first function", out_of_nothing),
        ("connect: code and registers", code),
        ("connect: what the program has", program),
        ("connect: restarts", restarts),
        ("connect: mistakes", mistakes),
        ("connect: ends", ends),
        ("connect: a failing program", failing),
        ("connect: scripts", scripts),
        ("connect: children", children),
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

fn commands<'a>(before: &[&'a str]) -> Vec<&'a str> {
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

fn values(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "kinds",
        &[],
        &commands(&[
            "break scal main.go:65",
            "continue",
            "locals",
            "locals -v",
            "locals yes|no",
            "args",
            "args -v",
            "print i8",
            "print -x u64",
            "print %x u32",
            "print %#v letter",
            "print long",
            "print short",
            "print unicode",
            "p 1+2",
            "print c128",
            "print wait",
            "print colour",
            "print odd",
            "print nothing",
            "print",
            "whatis colour",
            "whatis i8 + 1",
            "whatis nothing",
            "set i8 = 5",
            "set i8 = 500",
            "set short = \"x\"",
            "set nothing = 1",
            "set",
            "print i8",
            "break comp main.go:99",
            "continue",
            "locals",
            "locals -v",
            "print point",
            "print named",
            "print *named.Next",
            "print big",
            "print big[100:110]",
            "print words",
            "print points",
            "print deep",
            "print pair",
            "print anonymous",
            "print %v slice",
            "print -x bytes",
            "print nilPointer",
            "print *nilPointer",
            "print &point",
            "print len(slice)",
            "x -fmt hex -count 4 -size 1 &array",
            "examinemem -fmt oct -count 2 -size 8 -x &array",
            "x",
            "x -fmt nothing 0x10",
            "config max-string-len 3",
            "config max-array-values 2",
            "config max-variable-recurse 0",
            "print named",
            "print slice",
            "vars ^main\\.",
            "vars -v ^main\\.",
            "vars nothing",
            "display -a slice",
            "display -a nothing",
            "display -a %x big[3]",
            "display",
            "next",
            "display -d 1",
            "display -d 77",
            "next",
        ]),
    )
}

fn frames(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &["deep"],
        &commands(&[
            "break main.go:76",
            "continue",
            "stack",
            "bt 3",
            "stack -full 2",
            "stack -offsets 2",
            "stack -defer 2",
            "stack -a 1",
            "stack -mode simple 2",
            "stack -mode nothing 2",
            "stack nothing",
            "stack -3",
            "frame",
            "frame 3",
            "print n",
            "locals",
            "args",
            "list",
            "up",
            "print n",
            "up 5",
            "print n",
            "down 2",
            "print n",
            "down 99",
            "up 9999",
            "up nothing",
            "frame 99999",
            "frame -1",
            "frame 2 args",
            "frame 2 nothing",
            "frame 1 frame 2 print n",
            "deferred 1 locals",
            "clearall",
            "stepout",
            "stepout",
            "whatis n",
        ]),
    )?;
    play.session(
        "walks",
        &[],
        &commands(&[
            "break main.go:65",
            "break main.go:69",
            "break main.go:57",
            "continue",
            "stack -defer",
            "deferred 1 args",
            "deferred 1 print result",
            "deferred 2 print result",
            "continue",
            "stack -defer",
            "continue",
            "stack",
        ]),
    )
}

fn goroutines(play: &mut TerminalPlay) -> Result<()> {
    let built = play.fixture("crowd")?;
    let line = built.line("main.go", "// all wait")?;
    play.session(
        "crowd",
        &[],
        &commands(&[
            &format!("break main.go:{line}"),
            "continue",
            "goroutines",
            "goroutines -with user",
            "goroutines -with user -t 2",
            "goroutines -with user -u -l",
            "goroutines -with user -r",
            "goroutines -with user -g",
            "goroutines -with user -s",
            "goroutines -with userloc main.waits",
            "goroutines -without userloc main.waits -with user",
            "goroutines -with label kind=batch",
            "goroutines -with user -group userloc",
            "goroutines -with user -group label kind",
            "goroutines -with user -group nothing",
            "goroutines -chan gate",
            "goroutines -chan nothing",
            "goroutines -with user -exec print 1+1",
            "goroutines -nothing",
            "goroutine",
            "goroutine 1",
            "goroutine 4711",
            "goroutine nothing",
            "goroutine 1 stack 2",
            "goroutine 1 frame 1 locals",
            "thread",
            "thread 1",
            "threads -x",
            "break main.visit",
            "clearall",
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

fn code(play: &mut TerminalPlay) -> Result<()> {
    play.session(
        "walks",
        &[],
        &commands(&[
            "list main.main",
            "list main.go:22",
            "continue main.twice",
            "list",
            "list",
            "l 25",
            "list 99999",
            "list main.go:99999",
            "list nothing",
            "list twice",
            "list +3",
            "list /^main\\.(square|deep)$/",
            "frame 1 list",
            "disassemble",
            "disass -l main.square",
            "disassemble -a 0x10 0x20",
            "disassemble -a nothing",
            "disassemble -l nothing",
            "disassemble -nothing",
            "si",
            "disassemble -l main.twice",
            "config disassemble-flavor gnu",
            "disassemble -l main.square",
            "config disassemble-flavor go",
            "disassemble -l main.square",
            "regs",
            "regs -a",
            "regs nothing",
            "frame 1 regs",
        ]),
    )
}

fn program(play: &mut TerminalPlay) -> Result<()> {
    let built = play.fixture("walks")?;
    play.session(
        "walks",
        &[],
        &commands(&[
            "sources main\\.go$",
            "sources nothing",
            "sources [",
            "funcs ^main\\.",
            "funcs nothing",
            "funcs [",
            "types ^main\\.",
            "types nothing",
            "packages ^main$",
            "packages -i ^main$",
            "libraries",
            "target list",
            "target follow-exec",
            "target switch 77",
            "config -list",
            &format!("config substitute-path {} /client", built.dir.display()),
            "break /client/main.go:22",
            "continue",
            "list",
            "config substitute-path -clear",
            "checkpoints",
            "check",
            "rewind",
            "rev next",
            "dump",
            "watch n",
            "call main.square(2)",
            "transcript -off",
            "edit nothing",
            "help",
            "help break",
            "help nothing",
            "version",
        ]),
    )
}

fn restarts(play: &mut TerminalPlay) -> Result<()> {
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

fn mistakes(play: &mut TerminalPlay) -> Result<()> {
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

fn ends(play: &mut TerminalPlay) -> Result<()> {
    play.session("walks", &[], &["break main.main", "continue", "exit", "y"])?;
    play.session("walks", &["exit"], &["continue", "exit", "y"])?;
    play.session("walks", &[], &["quit", ""])?;
    play.session("exits", &["kill"], &["continue", "exit", "y"])?;
    play.session("exits", &["term"], &["continue", "exit", "y"])
}

fn failing(play: &mut TerminalPlay) -> Result<()> {
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

fn scripts(play: &mut TerminalPlay) -> Result<()> {
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

fn children(play: &mut TerminalPlay) -> Result<()> {
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
