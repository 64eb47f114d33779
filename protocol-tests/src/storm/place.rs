//! The places of the program, what is shown of each, and what must be so.

use std::sync::OnceLock;

use regex::Regex;

use crate::moments::Moments;

/// A marked line of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In `visit`.
    Visited,
    /// In `place`.
    Placed,
    /// In `measure`.
    Measured,
    /// In `lookUp`.
    LookedUp,
    /// In `pair`, which is generic.
    Paired,
    /// In `grow`, whose stack moves.
    Grown,
    /// In `risk`, which panics.
    Risked,
    /// In `steady`.
    Steady,
    /// In `begin`.
    Begun,
}

/// A condition on what is shown, and what it means.
#[derive(Clone)]
pub struct Condition {
    /// In Go.
    pub text: String,
    holds: fn(&[&str], u64) -> Option<bool>,
    number: u64,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn new(text: impl Into<String>, number: u64, holds: fn(&[&str], u64) -> Option<bool>) -> Condition {
        Condition {
            text: text.into(),
            holds,
            number,
        }
    }

    /// Whether it holds for the values of [`Place::shown`].
    pub fn holds(&self, values: &[&str]) -> bool {
        (self.holds)(values, self.number).unwrap_or(false)
    }
}

/// An integer; one without a sign is shown in hexadecimal too.
fn number(values: &[&str], index: usize) -> Option<i64> {
    let shown = values.get(index)?;
    let Some((decimal, hexadecimal)) = shown.split_once(" = 0x") else {
        return shown.parse().ok();
    };
    let number: i64 = decimal.parse().ok()?;
    (i64::from_str_radix(hexadecimal, 16) == Ok(number)).then_some(number)
}

/// A string's value without its quotes.
fn text<'v>(values: &[&'v str], index: usize) -> Option<&'v str> {
    values.get(index)?.strip_prefix('"')?.strip_suffix('"')
}

impl Place {
    /// All whose breakpoints come and go.
    pub const TOGGLED: [Place; 7] = [
        Place::Visited,
        Place::Placed,
        Place::Measured,
        Place::LookedUp,
        Place::Paired,
        Place::Grown,
        Place::Risked,
    ];

    /// What the line says.
    pub fn marker(self) -> &'static str {
        match self {
            Place::Visited => "// visited",
            Place::Placed => "// placed",
            Place::Measured => "// measured",
            Place::LookedUp => "// looked up",
            Place::Paired => "// paired",
            Place::Grown => "// grown",
            Place::Risked => "// risked",
            Place::Steady => "// steadied",
            Place::Begun => "// begun",
        }
    }

    /// What the program calls its count.
    pub fn count(self) -> &'static str {
        match self {
            Place::Visited => "visits",
            Place::Placed => "orders",
            Place::Measured => "shapes",
            Place::LookedUp => "lookups",
            Place::Paired => "pairs",
            Place::Grown => "frames",
            Place::Risked => "risks",
            Place::Steady => "steady",
            Place::Begun => "begun",
        }
    }

    /// The expressions whose values are shown.
    pub fn shown(self) -> &'static [&'static str] {
        match self {
            Place::Visited => &["x", "twice", "name", "me", "runtime.curg.goid"],
            Place::Placed => &[
                "o.id",
                "o.total",
                "o.customer",
                "len(o.items)",
                "o.next.id",
                "me",
                "o.items",
            ],
            Place::Measured => &["s", "n"],
            Place::LookedUp => &["n", "len(table)", "key", "keys[1]", "keys"],
            Place::Paired => &["a", "b"],
            Place::Grown => &["depth", "top", "above.depth", "above.check", "own.depth", "own.check"],
            Place::Risked => &["n", "o == nil", "o.id"],
            Place::Steady => &["n", "square"],
            Place::Begun => &["o.id", "o.total"],
        }
    }

    /// What must be so of the values, and of the goroutine that they are from; answers what is not.
    pub fn judge(self, values: &[&str], goroutine: i64) -> Result<(), String> {
        if values.len() != self.shown().len() {
            return Err(format!("{} values", values.len()));
        }
        match self.is_right(values, goroutine) {
            Some(true) => Ok(()),
            Some(false) => Err("the values do not belong together".to_owned()),
            None => Err("a value is not what it should look like".to_owned()),
        }
    }

    fn is_right(self, values: &[&str], goroutine: i64) -> Option<bool> {
        let n = |index| number(values, index);
        let s = |index| text(values, index);
        Some(match self {
            Place::Visited => {
                n(1)? == 2 * n(0)? && s(2)? == format!("n{}", n(0)?) && n(3)? == n(4)? && n(4)? == goroutine
            }
            Place::Placed => {
                let id = n(0)?;
                let count = id % 5;
                let items: Vec<String> = (0..count).map(|i| (id + i).to_string()).collect();
                let list = values[6].split_once(", [").map(|(_, list)| list.trim_end_matches(']'));
                n(1)? == 3 * id
                    && s(2)? == format!("c{id}")
                    && n(3)? == count
                    && n(4)? == id - 1
                    && n(5)? == goroutine
                    && values[6].starts_with(&format!("[]int len: {count}, cap: "))
                    && list.unwrap_or_default() == items.join(",")
            }
            Place::Measured => is_shape(values[0], n(1)? % 5000)?,
            Place::LookedUp => {
                let (n, key) = (n(0)?, s(2)?);
                n_entries(n) == number(values, 1)?
                    && key == format!("k{n}")
                    && s(3)? == key
                    && values[4] == format!("[3]string [\"left\",\"{key}\",\"right\"]")
            }
            Place::Paired => match (n(0), n(1)) {
                (Some(a), Some(b)) => b == 2 * a,
                _ => s(1)? == s(0)?.repeat(2) && s(0)?.starts_with('n'),
            },
            Place::Grown => {
                let (depth, top) = (n(0)?, n(1)?);
                n(2)? == depth + 1 && n(3)? == 31 * (depth + 1) + top && n(4)? == depth && n(5)? == 31 * depth + top
            }
            Place::Risked => {
                let is_nil = n(0)? % 3 == 0;
                values[1] == is_nil.to_string()
                    && if is_nil {
                        // A watch expression of a stopped frame fails, and shows nothing.
                        values[2] == "{eval err: o is nil}" || values[2].is_empty()
                    } else {
                        n(2)? == n(0)?
                    }
            }
            Place::Steady => n(1)? == n(0)? * n(0)?,
            Place::Begun => n(1)? == 3 * n(0)?,
        })
    }

    /// Whether a condition of this place may have no value.
    pub fn may_fail(self) -> bool {
        self == Place::Risked
    }

    /// A condition for log messages.
    pub fn condition(self, moments: &mut Moments) -> Condition {
        let pick = moments.below(4);
        let small = moments.below(50) + 2;
        let below = moments.below(small);
        match (self, pick) {
            (Place::Visited, 0) => Condition::new(format!("x % {small} == 1"), small, |v, k| {
                Some(number(v, 0)? % k as i64 == 1)
            }),
            (Place::Visited, 1) => Condition::new(format!("name == \"n100{below}\""), below, |v, k| {
                Some(text(v, 2)? == format!("n100{k}"))
            }),
            (Place::Visited, 2) => Condition::new(
                format!("runtime.curg.goid == me && len(name) > 3 && x % {small} != 0"),
                small,
                |v, k| Some(text(v, 2)?.len() > 3 && number(v, 0)? % k as i64 != 0 && v[3] == v[4]),
            ),
            (Place::Visited, _) => Condition::new(format!("runtime.curg.goid % {small} == 0"), small, |v, k| {
                Some(number(v, 4)? % k as i64 == 0)
            }),
            (Place::Placed, 0) => Condition::new(format!("o.customer == \"c{small}\""), small, |v, k| {
                Some(text(v, 2)? == format!("c{k}"))
            }),
            (Place::Placed, 1) => Condition::new("len(o.items) > 3 && o.items[3] == o.id+3", 0, |v, _| {
                Some(number(v, 3)? > 3)
            }),
            (Place::Placed, 2) => {
                Condition::new(format!("o.next.id == {below} || o.total == {small}"), small, |v, _| {
                    // Either way the other values must belong to it.
                    Some(number(v, 0)? - 1 == number(v, 4)?)
                })
            }
            (Place::Placed, _) => {
                Condition::new(format!("o.next.next == nil && o.id % {small} == 0"), small, |v, k| {
                    Some(number(v, 0)? % k as i64 == 0)
                })
            }
            (Place::Measured, _) => Condition::new(format!("s != nil && n % {small} == 1"), small, |v, k| {
                Some(number(v, 1)? % k as i64 == 1)
            }),
            (Place::LookedUp, 0) => Condition::new("len(table) == 4", 0, |v, _| Some(number(v, 1)? == 4)),
            (Place::LookedUp, 1) => Condition::new(format!("keys[1] == \"k20{below}\""), below, |v, k| {
                Some(text(v, 3)? == format!("k20{k}"))
            }),
            (Place::LookedUp, _) => {
                Condition::new(format!("keys[1] == key && n/{small}*{small} == n"), small, |v, k| {
                    Some(number(v, 0)? % k as i64 == 0)
                })
            }
            (Place::Paired, _) => Condition::new("a != b", 0, |v, _| Some(v[0] != v[1])),
            (Place::Grown, 0) => Condition::new(format!("depth == {below}"), below, |v, k| {
                Some(number(v, 0)? == k as i64)
            }),
            (Place::Grown, _) => Condition::new(
                format!("above.depth % {small} == 0 && above.top == top"),
                small,
                |v, k| Some(number(v, 2)? % k as i64 == 0),
            ),
            (Place::Risked, 0) => Condition::new("o == nil", 0, |v, _| Some(v[1] == "true")),
            (Place::Risked, 1) => Condition::new(format!("o != nil && o.id % {small} == 0"), small, |v, k| {
                Some(number(v, 2)? % k as i64 == 0)
            }),
            (Place::Risked, _) => Condition::new(format!("o.id % {small} == 1"), small, |v, k| {
                Some(number(v, 2)? % k as i64 == 1)
            }),
            (Place::Steady | Place::Begun, _) => self.always(),
        }
    }

    /// A condition that is true as often as the program counts: at each third pass of `steady`, at each of others.
    pub fn always(self) -> Condition {
        match self {
            Place::Steady => Condition::new("n % 3 == 0", 0, |v, _| Some(number(v, 0)? % 3 == 0)),
            Place::Begun => Condition::new("o.total == 3*o.id && len(o.customer) > 1", 0, |_, _| Some(true)),
            _ => Condition::new("true", 0, |_, _| Some(true)),
        }
    }

    /// A condition that the program's own rules make false at each pass.
    pub fn never(self) -> Condition {
        let text = match self {
            Place::Visited => "twice != 2*x || name[0] != 'n' || runtime.curg.goid != me",
            Place::Placed => "o.total != 3*o.id || len(o.items) != o.id%5 || o.customer == \"\" || o.next.id+1 != o.id",
            Place::Measured => "s == nil",
            Place::LookedUp => "len(table) != n%7+1 || keys[1] != key || keys[0] != \"left\"",
            Place::Paired => "a != a",
            Place::Grown => "above.depth != depth+1 || above.check != 31*above.depth+top || own.check != 31*depth+top",
            Place::Risked => "o != nil && o.id != n",
            Place::Steady => "square != n*n",
            Place::Begun => "o.total != 3*o.id",
        };
        Condition::new(text, 0, |_, _| Some(false))
    }

    /// A condition that is true so seldom that each time may stop the program.
    pub fn seldom(self, moments: &mut Moments) -> Condition {
        let k = moments.below(300);
        match self {
            Place::Visited => Condition::new(format!("x % 300 == {k} && runtime.curg.goid == me"), k, |v, k| {
                Some(number(v, 0)? % 300 == k as i64 && v[3] == v[4])
            }),
            Place::Placed => Condition::new(format!("o.customer == \"c{}\"", 5 * k), 5 * k, |v, k| {
                Some(text(v, 2)? == format!("c{k}"))
            }),
            Place::Measured => Condition::new(format!("n % 300 == {k}"), k, |v, k| {
                Some(number(v, 1)? % 300 == k as i64)
            }),
            Place::LookedUp => Condition::new(
                format!("keys[1] == key && len(table) == 3 && n % 100 == {}", k % 100),
                k % 100,
                |v, k| Some(number(v, 1)? == 3 && number(v, 0)? % 100 == k as i64),
            ),
            Place::Grown => Condition::new(format!("depth == {} && above.top == top", k % 201), k % 201, |v, k| {
                Some(number(v, 0)? == k as i64)
            }),
            Place::Risked => Condition::new(format!("o != nil && o.id % 300 == {k}"), k, |v, k| {
                Some(number(v, 2)? % 300 == k as i64)
            }),
            Place::Paired | Place::Steady | Place::Begun => self.never(),
        }
    }
}

fn n_entries(n: i64) -> i64 {
    n % 7 + 1
}

/// Whether a shape is shown as it was made of `n`.
fn is_shape(shown: &str, n: i64) -> Option<bool> {
    static SHAPES: OnceLock<Option<[Regex; 2]>> = OnceLock::new();
    let [square, strip] = SHAPES
        .get_or_init(|| {
            Some([
                Regex::new(r#"main\.square\) .*\{side: (\d+), squared: (\d+), label: "s(\d+)"\}"#).ok()?,
                Regex::new(r"main\.strip\) .*\{length: (\d+), half: (\d+)\}").ok()?,
            ])
        })
        .as_ref()?;
    let expected: Vec<i64> = if n % 2 == 0 {
        vec![n, n * n, n]
    } else {
        vec![2 * (n % 1000), n % 1000]
    };
    let found = if n % 2 == 0 { square } else { strip }.captures(shown)?;
    let numbers: Option<Vec<i64>> = found.iter().skip(1).map(|part| part?.as_str().parse().ok()).collect();
    Some(numbers? == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_values_are_right_and_wrong_ones_wrong() {
        let right = ["7", "14", "\"n7\"", "12", "12"];
        assert_eq!(Place::Visited.judge(&right, 12), Ok(()));
        assert!(Place::Visited.judge(&right, 13).is_err());
        assert!(Place::Visited.judge(&["7", "14", "\"n8\"", "12", "12"], 12).is_err());
        assert!(
            Place::Visited
                .judge(&["7", "(unreadable)", "\"n7\"", "12", "12"], 12)
                .is_err()
        );
        let order = ["8", "24", "\"c8\"", "3", "7", "1", "[]int len: 3, cap: 4, [8,9,10]"];
        assert_eq!(Place::Placed.judge(&order, 1), Ok(()));
        assert!(Place::Risked.judge(&["3", "true", "{eval err: o is nil}"], 1).is_ok());
        assert!(Place::Risked.judge(&["4", "false", "3"], 1).is_err());
        assert!(Place::Paired.judge(&["\"n1\"", "\"n1n1\""], 1).is_ok());
        assert!(Place::Paired.judge(&["\"n1\"", "\"n1n2\""], 1).is_err());
    }
}
