//! Hit conditions: how often a breakpoint must have been passed before it acts.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use spelunk_bpf::HitTest;

/// What Delve accepts (`hitConditionRegex`): operator characters, at most one space, a number. It is searched for, not matched as a whole.
static SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"([=><%!]*)( ?)([0-9_]+)").ok());

/// How the number of hits is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Multiple,
}

/// A parsed hit condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HitCondition {
    comparison: Comparison,
    number: u64,
}

/// Why a hit condition is none. The texts are Delve's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HitConditionError {
    /// No number in it.
    #[error(
        "unable to parse breakpoint hit condition: {0:?}\nhit conditions should be of the form \"number\" or \"OP number\""
    )]
    Shape(String),
    /// Something that is no comparison before the number.
    #[error("unable to parse breakpoint hit condition: {0:?}\ninvalid operator: {1:?}")]
    Operator(String, String),
    /// A number that is too large, or that has underscores.
    #[error("unable to parse breakpoint hit condition: {0:?}\ninvalid number: {1:?}")]
    Number(String, String),
}

impl HitCondition {
    /// Parses `4`, `== 4`, `>= 4`, `% 4` and the like.
    pub(crate) fn parse(text: &str) -> Result<HitCondition, HitConditionError> {
        let found = SHAPE.as_ref().and_then(|shape| shape.captures(text.trim()));
        let Some(found) = found else {
            return Err(HitConditionError::Shape(text.to_owned()));
        };
        let part = |number| found.get(number).map_or("", |part| part.as_str());
        let comparison = match part(1) {
            "" | "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            ">" => Comparison::Greater,
            "<" => Comparison::Less,
            ">=" => Comparison::GreaterOrEqual,
            "<=" => Comparison::LessOrEqual,
            "%" => Comparison::Multiple,
            other => return Err(HitConditionError::Operator(text.to_owned(), other.to_owned())),
        };
        let number = part(3)
            .parse::<i64>()
            .ok()
            .and_then(|number| u64::try_from(number).ok());
        let Some(number) = number else {
            return Err(HitConditionError::Number(text.to_owned(), part(3).to_owned()));
        };
        Ok(HitCondition { comparison, number })
    }

    /// The same for the kernel.
    pub(crate) fn test(self) -> HitTest {
        let compare = |comparison| HitTest::Compare(comparison, self.number);
        match self.comparison {
            Comparison::Equal => compare(spelunk_bpf::Comparison::Equal),
            Comparison::NotEqual => compare(spelunk_bpf::Comparison::NotEqual),
            Comparison::Greater => compare(spelunk_bpf::Comparison::Greater),
            Comparison::Less => compare(spelunk_bpf::Comparison::Less),
            Comparison::GreaterOrEqual => compare(spelunk_bpf::Comparison::GreaterOrEqual),
            Comparison::LessOrEqual => compare(spelunk_bpf::Comparison::LessOrEqual),
            Comparison::Multiple => HitTest::Multiple(self.number),
        }
    }

    /// Whether the breakpoint acts at its `hits`th hit, counted from 1.
    pub(crate) fn holds(self, hits: u64) -> bool {
        match self.comparison {
            Comparison::Equal => hits == self.number,
            Comparison::NotEqual => hits != self.number,
            Comparison::Greater => hits > self.number,
            Comparison::Less => hits < self.number,
            Comparison::GreaterOrEqual => hits >= self.number,
            Comparison::LessOrEqual => hits <= self.number,
            // Nothing is a multiple of zero but zero itself, and counting begins at 1.
            Comparison::Multiple => hits.checked_rem(self.number) == Some(0),
        }
    }

    /// Whether the breakpoint can act at any later hit, after `hits` hits. Where it cannot, its sites need not be kept in the program.
    pub(super) fn can_still_hold(self, hits: u64) -> bool {
        match self.comparison {
            Comparison::Equal | Comparison::LessOrEqual => hits < self.number,
            Comparison::Less => hits.saturating_add(1) < self.number,
            Comparison::Multiple => self.number != 0,
            Comparison::NotEqual | Comparison::Greater | Comparison::GreaterOrEqual => true,
        }
    }
}

impl fmt::Display for HitCondition {
    /// As Delve writes what it has understood: the operator, a space, the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.comparison {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Greater => ">",
            Comparison::Less => "<",
            Comparison::GreaterOrEqual => ">=",
            Comparison::LessOrEqual => "<=",
            Comparison::Multiple => "%",
        };
        write!(f, "{operator} {}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts_at(text: &str) -> Vec<u64> {
        let condition = HitCondition::parse(text).expect("a hit condition");
        (1..=6).filter(|hits| condition.holds(*hits)).collect()
    }

    #[test]
    fn compares_as_delve_does() {
        assert_eq!(acts_at("4"), [4]);
        assert_eq!(acts_at("== 4"), [4]);
        assert_eq!(acts_at("==4"), [4]);
        assert_eq!(acts_at(" > 4 "), [5, 6]);
        assert_eq!(acts_at(">=4"), [4, 5, 6]);
        assert_eq!(acts_at("< 3"), [1, 2]);
        assert_eq!(acts_at("<= 3"), [1, 2, 3]);
        assert_eq!(acts_at("% 3"), [3, 6]);
        assert!(acts_at("% 0").is_empty());
        assert_eq!(acts_at("!= 3"), [1, 2, 4, 5, 6]);
    }

    #[test]
    fn texts_of_errors_are_delves() {
        let error = |text: &str| HitCondition::parse(text).expect_err("not a hit condition").to_string();
        assert_eq!(
            error("often"),
            "unable to parse breakpoint hit condition: \"often\"\nhit conditions should be of the form \"number\" or \"OP number\""
        );
        assert_eq!(
            error("=! 3"),
            "unable to parse breakpoint hit condition: \"=! 3\"\ninvalid operator: \"=!\""
        );
        assert_eq!(
            error("1_000"),
            "unable to parse breakpoint hit condition: \"1_000\"\ninvalid number: \"1_000\""
        );
    }

    #[test]
    fn a_condition_that_is_over_stays_false() {
        for text in ["4", "== 4", "< 3", "<= 3", "% 0"] {
            let condition = HitCondition::parse(text).expect("a hit condition");
            let last = (1..100).filter(|hits| condition.holds(*hits)).max().unwrap_or(0);
            assert!(!condition.can_still_hold(last), "{text}");
            assert!(last == 0 || condition.can_still_hold(last - 1), "{text}");
        }
        for text in ["> 4", ">= 4", "!= 2", "% 3"] {
            assert!(HitCondition::parse(text).expect("a hit condition").can_still_hold(1000));
        }
    }
}
