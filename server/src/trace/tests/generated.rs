//! A Go program with conditions made up at random, which says at each pass of a line what Go makes of each of them.

use std::fmt::Write as _;

/// A program, and the conditions that it evaluates.
pub(super) struct Generated {
    pub(super) source: String,
    /// The conditions, in the order in which the program tells their outcome.
    pub(super) conditions: Vec<String>,
}

/// The statements that are probed, at which all variables are there: where they were passed, and behind a call.
pub(super) const PROBED: [&str; 2] = ["probed = i // first", "probed = i // second"];

/// Numbers that are the same for the same seed (xorshift64, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.below(of.len())).copied().unwrap_or_default()
    }
}

/// What has a type of Go, and constants that it can have.
struct Class {
    places: &'static [&'static str],
    constants: &'static [&'static str],
    shifts: bool,
}

const INTEGERS: &[Class] = &[
    Class {
        places: &[
            "n",
            "m",
            "int(a)",
            "int(b)",
            "xs[n&3]",
            "arr[n&3]",
            "arr[2]",
            "grid[b&1][n&1]",
            "node.ID",
            "node.Next.ID",
            "node.X",
            "node.Next.Point.Y",
            "len(s)",
            "len(xs)",
            "cap(xs)",
            "len(mm)",
            "len(ch)",
            "cap(ch)",
            "global",
            "*pn",
            "len(s[n&3:])",
            "len(xs[1:])",
            "cap(xs[1:2])",
            "e.(int)",
            "min(n, m)",
            "max(n, m, 3)",
            "int(u64)",
            "node.Inner.K",
            "table[n&3].ID",
            "len(node.Names)",
            "int(x.kind)",
            "escaped",
            "closed",
        ],
        constants: &[
            "0",
            "1",
            "-1",
            "2",
            "3",
            "7",
            "100",
            "-9223372036854775808",
            "9223372036854775807",
        ],
        shifts: true,
    },
    Class {
        places: &["a", "int8(n)", "int8(b)", "node.Small", "smalls[n&3]", "int8(u64)"],
        constants: &["0", "1", "-1", "-128", "127", "5"],
        shifts: true,
    },
    Class {
        places: &[
            "b",
            "uint8(n)",
            "s[n&3]",
            "node.Name[0]",
            "bs[1]",
            "uint8(a)",
            "bs[n&1]",
        ],
        constants: &["0", "1", "255", "128", "'a'", "7"],
        shifts: true,
    },
    Class {
        places: &["c16", "int16(n)", "int16(b)", "node.Inner.J"],
        constants: &["0", "1", "-32768", "32767", "100"],
        shifts: true,
    },
    Class {
        places: &["u16", "uint16(n)", "uint16(a)"],
        constants: &["0", "1", "65535", "300"],
        shifts: true,
    },
    Class {
        places: &["i32", "int32(n)", "int32(u64)", "i32s[n&3]"],
        constants: &["0", "1", "-1", "-2147483648", "2147483647"],
        shifts: true,
    },
    Class {
        places: &["u32", "uint32(a)", "uint32(n)"],
        constants: &["0", "1", "4294967295", "77"],
        shifts: true,
    },
    Class {
        places: &["u64", "uint64(n)", "uint64(a)", "uint64(u32)"],
        constants: &["0", "1", "18446744073709551615", "9223372036854775808"],
        shifts: true,
    },
    Class {
        places: &["x.kind", "node.Kind", "Kind(n)"],
        constants: &["Alpha", "Beta", "Gamma"],
        shifts: false,
    },
];

const STRINGS: Class = Class {
    places: &[
        "s",
        "t",
        "node.Name",
        "node.Names[n&1]",
        "s[:n&3]",
        "s[1:]",
        "s[n&1:len(s)]",
        "string(bs)",
        "string(bs[:1])",
        "x.text",
        "e.(string)",
    ],
    constants: &[
        "\"\"",
        "\"a\"",
        "\"ab\"",
        "\"abc\"",
        "\"aaaa\"",
        "\"b\"",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
    ],
    shifts: false,
};

const FLOATS: &[Class] = &[
    Class {
        places: &["pf.F64", "fs[n&1]"],
        constants: &["0", "1.5", "-2.25", "0.1", "1e300"],
        shifts: false,
    },
    Class {
        places: &["pf.F32"],
        constants: &["0", "1.5", "0.1", "-3e10"],
        shifts: false,
    },
];

const TRUTHS: &[&str] = &[
    "flag",
    "node.Flag",
    "flags[n&1]",
    "node == nil",
    "node.Next == nil",
    "node.Next != node",
    "xs == nil",
    "mm == nil",
    "ch == nil",
    "e == nil",
    "err != nil",
    "f == nil",
    "node.Any == nil",
    "err == nil",
    "pn == &global",
    "node.Point == nil",
    "strings.HasPrefix(s, \"a\")",
    "strings.HasPrefix(node.Name, \"ab\")",
    "strings.HasPrefix(s, t)",
    "flag == node.Flag",
    "*node.Point == pt",
    "arr == other",
    "x == y",
    "e.(*Node) == node",
    "e.(Point).X == 1",
    "node.Err == nil",
    "err == sentinel",
    "err != node.Err",
    "node.Next.Err == sentinel",
    "e != node.Any",
];

const ARITHMETIC: &[&str] = &["+", "-", "*", "&", "|", "^", "&^", "/", "%"];
const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];

impl Numbers {
    fn integer(&mut self, class: &Class, depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.one(class.places).to_owned();
        }
        match self.below(8) {
            0 => format!("-{}", self.one(class.places)),
            1 => format!("^{}", self.one(class.places)),
            2 if class.shifts => {
                let by = self.one(&["b", "1", "7", "8", "31", "63", "64", "uint(n)", "b&7", "n"]);
                let operator = self.one(&["<<", ">>"]);
                format!("({} {operator} {by})", self.integer(class, depth - 1))
            }
            _ => {
                let operator = self.one(ARITHMETIC);
                let left = self.integer(class, depth - 1);
                let right = match self.below(3) {
                    // A division by a constant zero is none for the compiler.
                    0 => {
                        let nonzero: Vec<&str> = class
                            .constants
                            .iter()
                            .copied()
                            .filter(|c| *c != "0" && *c != "Alpha")
                            .collect();
                        self.one(&nonzero).to_owned()
                    }
                    _ => self.integer(class, depth - 1),
                };
                format!("({left} {operator} {right})")
            }
        }
    }

    fn comparison(&mut self) -> String {
        match self.below(10) {
            0..=5 => {
                let class = INTEGERS.get(self.below(INTEGERS.len())).unwrap_or(&STRINGS);
                let left = self.integer(class, 2);
                let right = if self.below(2) == 0 {
                    self.one(class.constants).to_owned()
                } else {
                    self.integer(class, 1)
                };
                format!("{left} {} {right}", self.one(COMPARISONS))
            }
            6 => {
                let left = self.one(STRINGS.places);
                let right = if self.below(2) == 0 {
                    self.one(STRINGS.places)
                } else {
                    self.one(STRINGS.constants)
                };
                format!("{left} {} {right}", self.one(&["==", "!="]))
            }
            7 => {
                let class = FLOATS.get(self.below(FLOATS.len())).unwrap_or(&STRINGS);
                let right = if self.below(2) == 0 {
                    self.one(class.places)
                } else {
                    self.one(class.constants)
                };
                format!("{} {} {right}", self.one(class.places), self.one(COMPARISONS))
            }
            _ => self.one(TRUTHS).to_owned(),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.below(6) {
            0 if depth > 0 => format!("{} && {}", self.operand(depth - 1), self.operand(depth - 1)),
            1 if depth > 0 => format!("{} || {}", self.operand(depth - 1), self.operand(depth - 1)),
            2 if depth > 0 => format!("!({})", self.condition(depth - 1)),
            _ => self.comparison(),
        }
    }

    fn operand(&mut self, depth: usize) -> String {
        format!("({})", self.condition(depth))
    }
}

/// A program with `count` conditions.
pub(super) fn generate(seed: u64, count: usize) -> Generated {
    let mut numbers = Numbers(seed | 1);
    let conditions: Vec<String> = (0..count).map(|_| numbers.condition(2)).collect();
    let mut closures = String::new();
    for condition in &conditions {
        let _ = writeln!(closures, "\t\tfunc() bool {{ return {condition} }},");
    }
    let source = include_str!("subject.go.txt")
        .replace("//FIRST", PROBED[0])
        .replace("//SECOND", PROBED[1])
        .replace("//CONDITIONS", &closures);
    Generated { source, conditions }
}
