//! Conditions as they are lowered for the kernel, held against the interpreter, over a real program's memory.

use spelunk_bpf::Reg;
use spelunk_dwarf::DwarfReg;

use super::program::{Build, Program, eventually};
use super::values::frames;
use crate::expr::{Expr, parse};
use crate::inspect::{Frame, FrameScope, GoroutineContext, Stopped};
use crate::trace::{ALL_REGISTERS, AtLine, LowerError, Model, lower};

/// What both say of a condition in one frame of the program.
struct Verdict {
    interpreted: Result<bool, String>,
    lowered: Result<Option<bool>, LowerError>,
}

struct Here<'a> {
    stopped: &'a dyn Stopped,
    frame: &'a Frame,
    goroutine: GoroutineContext,
}

impl Here<'_> {
    fn verdict(&self, text: &str) -> Verdict {
        let condition = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (binary, bias) = (self.stopped.binary(), self.stopped.bias());
        let scope =
            FrameScope::new(binary, bias, self.stopped.memory(), self.frame).with_goroutine(Some(self.goroutine));
        Verdict {
            interpreted: scope.truth(&condition).map_err(|error| error.to_string()),
            lowered: self.lowered(&condition),
        }
    }

    fn lowered(&self, condition: &Expr) -> Result<Option<bool>, LowerError> {
        let binary = self.stopped.binary();
        let info = self.frame.info.as_deref().expect("the fixture is described");
        let pc = self.frame.lookup_pc;
        let names = AtLine {
            binary,
            info,
            pc,
            line: self.frame.location.line,
            cfa_offset: binary.cfa(pc).expect("the frame is described").offset,
        };
        let lowered = lower(binary, &names, condition)?;
        let register = |register: Reg| {
            let (_, number) = ALL_REGISTERS.iter().find(|(known, _)| *known == register)?;
            self.frame.registers.general(DwarfReg(number.0))
        };
        let model = Model {
            register: &register,
            memory: self.stopped.memory(),
            bias: self.stopped.bias(),
            goroutine: Some(self.goroutine.addr.0),
        };
        Ok(model.holds(&lowered))
    }
}

/// The caller of `main.pause`, once the program rests at its n-th pause.
fn at_pause<T>(build: Build, pause: &str, look: impl Fn(&Here<'_>) -> T) -> Option<T> {
    let program = Program::start("values", build, &[pause])?;
    let seen = eventually(|| {
        let stopped = program.stop();
        let (frames, goroutine) = frames(&stopped);
        let paused = |frame: &Frame| frame.location.function.as_deref() == Some("main.pause");
        let at = frames.iter().position(paused)?;
        let frame = frames.get(at + 1)?;
        Some(look(&Here {
            stopped: &stopped,
            frame,
            goroutine,
        }))
    });
    Some(seen.expect("the program rests"))
}

/// What disagrees, and how many conditions had a value in both.
fn disagreements(here: &Here<'_>, build: Build, conditions: &[String]) -> (Vec<String>, usize) {
    let (mut wrong, mut decided) = (Vec::new(), 0);
    for text in conditions {
        let Verdict { interpreted, lowered } = here.verdict(text);
        let agrees = match (&interpreted, &lowered) {
            (Ok(a), Ok(Some(b))) => {
                decided += 1;
                a == b
            }
            // Without a value in the kernel, the interpreter decides; it must have a reason, or the kernel did too little.
            (Err(_), Ok(None) | Err(LowerError::Condition(_))) => true,
            // Names are looked up beforehand, although the left side may decide. The optimiser leaves out variables.
            (Ok(_), Err(LowerError::Condition(_))) => {
                build != Build::Debug && (text.contains("||") || text.contains("&&"))
            }
            // Go does not compile these.
            (_, Err(LowerError::NotLowered(error))) => {
                error.why.contains("is no number of type") || error.why.contains("has no type yet")
            }
            _ => false,
        };
        if !agrees {
            wrong.push(format!("{text}: interpreted {interpreted:?}, lowered {lowered:?}"));
        }
    }
    (wrong, decided)
}

/// Variables of each kind of integer, with constants that matter to it.
const INTEGERS: [(&[&str], &[&str]); 9] = [
    (&["i8", "nested.Inner.A"], &["0", "-8", "127", "-128", "3"]),
    (&["i16", "int16(i8)", "int16(u16)"], &["0", "-1600", "7"]),
    (&["i32", "r", "int32(n)", "runes[1]"], &["-320000", "'x'", "5"]),
    (&["i64", "int64(i8)", "int64(u64)"], &["-1", "0", "1", "2"]),
    (
        &["u8", "bytes[n-7]", "s[1]", "uint8(i16)", "uint8(n*100)"],
        &["200", "255", "7", "0"],
    ),
    (&["u16", "uint16(u32)"], &["60000", "1", "3"]),
    (&["u32", "uint32(i64)", "uint32(i8)"], &["4000000000", "16", "0"]),
    (
        &["u64", "uint64(i8)", "uint64(u8)"],
        &["18446744073709551615", "1", "0"],
    ),
    (
        &[
            "n",
            "p.X",
            "pp.Y",
            "(*ppp).X",
            "arr[1]",
            "parr[2]",
            "sl[n-5]",
            "big[n]",
            "structs[1].Y",
            "nested.ID",
            "nested.Next.Next.Inner.B + 0 == 0 && n",
            "counter",
            "*pescaped",
            "captured",
            "int(u8)",
            "len(sl)",
            "min(n, len(s))",
            "max(3, n, p.X)",
        ],
        &["0", "7", "-3", "42", "len(long)"],
    ),
];

const ARITHMETIC: [&str; 8] = ["+", "-", "*", "&", "|", "^", "&^", "/"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn integer_conditions() -> Vec<String> {
    let mut conditions = Vec::new();
    for (names, constants) in INTEGERS {
        let names: Vec<&str> = names.iter().copied().filter(|name| !name.contains("&&")).collect();
        let operands = names.iter().chain(constants);
        for (i, a) in operands.clone().enumerate() {
            for (j, b) in operands.clone().enumerate() {
                let comparison = COMPARISONS[(i + j) % COMPARISONS.len()];
                conditions.push(format!("{a} {comparison} {b}"));
                for (k, operator) in ARITHMETIC.iter().chain(&["%"]).enumerate() {
                    let c = names[(i + k) % names.len()];
                    let comparison = COMPARISONS[(i * 5 + j + k) % COMPARISONS.len()];
                    conditions.push(format!("{a} {operator} {b} {comparison} {c}"));
                }
            }
            for count in ["0", "1", "7", "8", "31", "63", "64", "u8", "n", "i8", "uint(n)"] {
                for name in &names {
                    conditions.push(format!("{name} << {count} != {a}"));
                    conditions.push(format!("{name} >> {count} <= {a}"));
                }
            }
            conditions.push(format!("-({a}) < {}", names[0]));
            conditions.push(format!("^{a} >= {}", names[0]));
        }
    }
    // Each operator meets each pair of operands in some place; all of them together take too long for every run.
    conditions.into_iter().step_by(7).collect()
}

#[test]
fn integers_of_all_widths_wrap_round_alike() {
    let conditions = integer_conditions();
    for build in [Build::Debug, Build::Pie] {
        let seen = at_pause(build, "1", |here| disagreements(here, build, &conditions));
        let Some((wrong, decided)) = seen else { return };
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if build == Build::Debug {
            assert!(
                decided * 10 > conditions.len() * 8,
                "{decided} of {} had a value",
                conditions.len()
            );
        }
    }
}

const CONDITIONS: &[&str] = &[
    // Truth values.
    "b",
    "!b",
    "b == true",
    "b != (n == 7)",
    "bools[1] || b",
    "bools[1] && nilp.X == 1",
    "b && !bools[1]",
    "false || b",
    // Strings.
    "s == \"héllo \\\"w\\\"\\n\"",
    "s != empty",
    "empty == \"\"",
    "s[:2] == \"h\\xc3\"",
    "s[1:3] == \"é\"",
    "bad == \"\\xff\\xfe\"",
    "strs[0] == \"one\"",
    "strs[1] != strs[0]",
    "arrS[1] == \"b\"",
    "shadowed == \"inner\"",
    "anon.B == \"anon\"",
    "strings.HasPrefix(s, \"h\")",
    "strings.HasPrefix(s, \"x\")",
    "strings.HasPrefix(empty, \"\")",
    "strings.HasPrefix(s, s[:3])",
    "strings.HasPrefix(\"one two\", strs[0])",
    "strings.HasPrefix(strs[1], \"two and more\")",
    "string(bytes) == \"bytes\"",
    "string(bytes[1:3]) == \"yt\"",
    "nested.Tags[0] == \"t\"",
    "order.Name == \"order\"",
    "listS.Items[0].Name[:3] == \"ord\"",
    "len(s[2:]) == len(s) - 2",
    "s[0] == 'h'",
    "s[1] == u8",
    "empty[:0] == \"\"",
    "strs[2] == \"three\"",
    "s[:100] == \"x\"",
    "s[5:2] == \"x\"",
    "\"abc\"[1] == 'b'",
    "\"abc\"[1:] == \"bc\"",
    // Lengths.
    "len(s) > 3",
    "len(sl) == 4 && cap(sl) == 4",
    "len(slcap) == 1",
    "cap(slcap) == 2",
    "len(nilsl) == 0",
    "len(m2) == 99",
    "len(nilm) == 0",
    "len(emptym) == 0",
    "len(ch) == 2 && cap(ch) == 4",
    "len(nilch) == 0",
    "cap(unbuf) == 0",
    "len(arr) == 3",
    "len(parr) == 3",
    "len(m3) > 3000",
    "len(sl[1:3]) == 2",
    "cap(sl[1:3]) == 3",
    "len(nested.M) == 1",
    "len(long) == 700",
    "len(arr2[1]) == 2",
    // nil.
    "nilp == nil",
    "pp != nil",
    "nilsl == nil",
    "emptysl != nil",
    "nilm == nil",
    "m != nil",
    "nilch == nil",
    "ch != nil",
    "nilfn == nil",
    "fn != nil",
    "ifaceNil == nil",
    "iface != nil",
    "errNil == nil",
    "err != nil",
    "nil == nilp",
    "nilun == nil",
    "shapeNil == nil",
    "ptrs[1] == nil",
    "nested.Next != nil",
    "mptr == nil || pp == nil",
    "sl[1:] != nil",
    // Structs, pointers, arrays.
    "p.X == 3 && p.Y == 4",
    "pp.X == 3",
    "(*pp).Y == 4",
    "(**ppp).X == 3",
    "pp == &p",
    "*ppp == pp",
    "pescaped == &escaped",
    "escaped == 77",
    "p == *pp",
    "structs[0] == structs[1]",
    "arr == *parr",
    "arr2[1][0] == 3",
    "arr2[n-6][n-7] == 3",
    "arr[n] == 1",
    "sl[n] == 1",
    "sl[3] == 40",
    "sl[1:][1] == 30",
    "structs[n-6].X == 3",
    "ptrs[0].Y == 2",
    "ptrs[1].Y == 2",
    "nilp.X == 0",
    "*nilp == p",
    "nested.X == 3",
    "nested.Point.Y == 4",
    "nested.Next.Next.ID == 9",
    "nested.Inner.A == 1",
    "nested.Base.ID == nested.ID",
    "list.Head == 3",
    "list.Items[1] == 2",
    "listS.Items[0].ID == 1",
    "pair.Val == 1 && pair.Key == \"k\"",
    "arr[1:][1] == 3",
    "len(arr[1:]) == 2",
    "ch == nested.Ch",
    "*parr == arr",
    "porder.ID == order.ID",
    "&arr[1] != &arr[2]",
    "&sl[0] == &sl[0]",
    // Named constants, package variables, named types.
    "color == Blue",
    "color == 2",
    "colorX > Green",
    "flags & FlagC != 0",
    "flags == FlagA|FlagC",
    "grade == shop.Mid",
    "counter == 42",
    "shop.Limit == 7",
    "dur > 1000",
    "dur == 1500 * time.Millisecond",
    "main.counter + 1 == 43",
    "len(globalMap) == 1",
    // The goroutine.
    "runtime.curg.goid == 1",
    "runtime.curg.goid != 1 || n == 7",
    "runtime.curg.stack.hi > runtime.curg.stack.lo",
    "runtime.frameoff < 0",
    // Floating-point numbers.
    "f32 == 1.5",
    "f64 > 2",
    "f64 == 2.25",
    "nan == nan",
    "nan != nan",
    "inf > f64",
    "ninf < 0",
    "f32 < 0.1",
    "f64 != 0",
    "0.1 < f32",
    // What interfaces hold.
    "iface.(int) == 42",
    "iface.(string) == \"x\"",
    "ifaceS.(string) == \"str\"",
    "ifaceP.(*main.Point) == pp",
    "ifaceP.(*main.Point).X == 3",
    "ifaceStruct.(main.Point).Y == 4",
    "shape.(main.Point).X == 3",
    "shapeP.(*main.Point).Y == 4",
    "shapeNil.(main.Point).X == 0",
    "ifaceSl.([]int)[1] == 20",
    "errNil == err",
    "ifaceNil == iface",
    "errNil == errNil",
    "err == nested.Err",
    "err != errGlobal",
    "shape == shapeP",
    "shapeP == shapeP",
    "ifaceP == ifaceP",
    "ifaceP != iface",
    "ifaceNil == ifaceP",
    // Conversions.
    "int(color) == 2",
    "main.Color(n) == 7",
    "uintptr(0xabc) == up",
    "uint64(up) == 2748",
    "(*main.Point)(uns).X == 3",
    "unsafe.Pointer(pp) == uns",
    "time.Duration(n) < dur",
    "int8(u16) == 96",
    "bool(b)",
    // Nothing has a value that does not exist.
    "nowhere == 1",
    "p.Z == 1",
    "n.X == 1",
    "s + 1 == 2",
    "n == \"x\"",
    "i8 == i16",
    "n && b",
    "!n",
    "p > p",
    "b < b",
    "m == m",
    "n",
    "*n == 1",
    "n[1] == 2",
    "later == 1",
    "n / (n - 7) == 1",
    "1 / (p.X - 3) == 0",
    "sl[-1] == 1",
    "arr[3] == 1",
    "n == nil",
    "len(n) == 1",
    "use(n) == 1",
    "-s == s",
    "n << -1 == 0",
    "p.X == 3 || nilp.X == 1",
    "nilp.X == 1 || true",
];

#[test]
fn what_the_kernel_can_decide_it_decides_as_the_interpreter_does() {
    let conditions: Vec<String> = CONDITIONS.iter().map(|text| (*text).to_owned()).collect();
    for build in [Build::Debug, Build::Pie] {
        let seen = at_pause(build, "1", |here| disagreements(here, build, &conditions));
        let Some((wrong, decided)) = seen else { return };
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if build == Build::Debug {
            assert!(decided > 150, "{decided} had a value");
        }
    }
}

/// What the kernel cannot decide, the part that is to blame, and why.
const BEYOND_THE_KERNEL: &[(&str, &str)] = &[
    ("n == 7 && m[\"only\"] == 1", "m[\"only\"] needs a map lookup"),
    (
        "s < \"x\"",
        "s < \"x\" asks for the order of strings; the kernel compares them for equality",
    ),
    ("s + \"x\" == \"y\"", "s + \"x\" makes a new string"),
    (
        "f64 * 2 > 3",
        "f64 * 2 computes with floating-point numbers, which the kernel cannot",
    ),
    (
        "float64(n) > f64",
        "float64(n) converts a floating-point number, which the kernel cannot",
    ),
    ("c128 == c128", "c128 == c128 compares complex numbers"),
    (
        "n == 7 && ifaceStruct.X == 3",
        "ifaceStruct.X is behind an interface, whose type only the running program knows; write ifaceStruct.(T).X",
    ),
    ("1 << n == 128", "1 << n shifts what has no type yet; convert it first"),
    (
        "runtime.threadid > 0",
        "runtime.threadid is not known to conditions in the kernel",
    ),
    ("m2[1:] == nil", "m2[1:] leaves out entries of a map"),
    ("u8 == 1 << 70", "1 << 70 is no number of type uint8"),
];

#[test]
fn what_the_kernel_cannot_decide_is_named() {
    at_pause(Build::Debug, "1", |here| {
        for (text, reason) in BEYOND_THE_KERNEL {
            match here.verdict(text).lowered {
                Err(LowerError::NotLowered(error)) => assert_eq!(error.to_string(), *reason, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_condition_that_is_too_large_is_refused_however_it_grows() {
    at_pause(Build::Debug, "1", |here| {
        let sums = format!("{} == 1", ["n"; 30].join("+"));
        let slices = format!("len(sl{}) == 1", "[n-7:]".repeat(40));
        let minima = format!("min({}) == 1", ["n"; 60].join(", "));
        let all = format!("{} && b", ["p.X*p.X*p.X*p.X == 81"; 60].join(" && "));
        for text in [sums, slices, minima, all] {
            let lowered = here.verdict(&text).lowered;
            assert!(matches!(lowered, Err(LowerError::NotLowered(_))), "{text}: {lowered:?}");
        }
    });
}

#[test]
fn captured_variables_and_parameters_are_found() {
    let conditions: Vec<String> = [
        "captured == 5",
        "byRef == 7",
        "inside == 12",
        "captured + byRef == inside",
        "byRef < captured",
    ]
    .map(str::to_owned)
    .to_vec();
    for build in [Build::Debug, Build::Optimized] {
        let Some((wrong, decided)) = at_pause(build, "5", |here| disagreements(here, build, &conditions)) else {
            return;
        };
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(build != Build::Debug || decided == conditions.len(), "{decided}");
    }
}
