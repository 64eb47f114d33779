//! Names of functions, as the linker has them and as people write them.
//!
//! People may write `f`, `pkg.f`, `pkg.(*T).M`, `(*T).M`, `T.M` and `path/to/pkg.f` (Delve's `Documentation/cli/locspec.md`).

use spelunk_dwarf::Binary;

/// The parts of a function's name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'n> {
    package: &'n str,
    receiver: &'n str,
    base: &'n str,
}

/// What somebody wrote for a function, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FunctionName {
    package: String,
    /// The package was given with a leading slash: it must be the whole path.
    absolute: bool,
    receiver: String,
    package_or_receiver: String,
    /// The name without package and receiver.
    pub(super) base: String,
}

impl FunctionName {
    /// Takes it apart; `None` where it cannot be a function.
    pub(super) fn parse(name: &str) -> Option<FunctionName> {
        let directory = name.rfind('/');
        let (path, rest) = name.split_at(directory.unwrap_or(0));
        let mut parts = rest.split('.');
        let first = format!("{path}{}", parts.next().unwrap_or_default());
        let rest: Vec<&str> = parts.collect();
        let mut wanted = FunctionName::default();
        match rest.as_slice() {
            [] => wanted.base = first,
            [base] => {
                (*base).clone_into(&mut wanted.base);
                let plain = without_star(&first);
                if plain != first {
                    plain.clone_into(&mut wanted.receiver);
                } else if plain.contains('/') {
                    wanted.package = first;
                } else {
                    wanted.package_or_receiver = first;
                }
            }
            [receiver, base] => {
                (*base).clone_into(&mut wanted.base);
                without_star(receiver).clone_into(&mut wanted.receiver);
                wanted.package = first;
            }
            _ => return None,
        }
        if wanted.package.starts_with('/') {
            wanted.package.remove(0);
            wanted.absolute = true;
        }
        (!wanted.base.contains('/') && !wanted.receiver.contains('/')).then_some(wanted)
    }

    /// Whether a function of the program is meant.
    pub(super) fn matches(&self, binary: &Binary, name: &str) -> bool {
        self.fits(name, &|known, wanted| {
            binary.packages_named(known).any(|path| ends_in(wanted, path))
        })
    }

    /// The same; `is_named` says whether the package of a path calls itself by a name that the path does not end in.
    fn fits(&self, name: &str, is_named: &dyn Fn(&str, &str) -> bool) -> bool {
        let parts = Parts::of(name);
        let receiver = without_star(parts.receiver);
        let package_fits = |wanted: &str| ends_in(parts.package, wanted) || is_named(wanted, parts.package);
        parts.base == self.base
            && (self.receiver.is_empty() || self.receiver == receiver)
            && (self.package.is_empty()
                || if self.absolute {
                    self.package == parts.package
                } else {
                    package_fits(&self.package)
                })
            && (self.package_or_receiver.is_empty()
                || package_fits(&self.package_or_receiver)
                || self.package_or_receiver == receiver)
    }
}

impl<'n> Parts<'n> {
    /// Takes `path/pkg.(*T).M` apart. Dots between the brackets of type arguments separate nothing.
    fn of(name: &'n str) -> Parts<'n> {
        let whole = Parts {
            base: name,
            ..Parts::default()
        };
        if name.starts_with("go:") || name.starts_with("type:") {
            return whole;
        }
        let (mut first, mut second) = (None, None);
        let mut depth = 0u32;
        for (at, c) in name.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                '/' if depth == 0 => (first, second) = (None, None),
                '.' if depth == 0 && first.is_none() => first = Some(at),
                '.' if depth == 0 && second.is_none() => second = Some(at),
                _ => {}
            }
        }
        match (first, second) {
            (None, _) => whole,
            (Some(dot), None) => Parts {
                package: &name[..dot],
                receiver: "",
                base: &name[dot + 1..],
            },
            (Some(dot), Some(other)) => Parts {
                package: &name[..dot],
                receiver: &name[dot + 1..other],
                base: &name[other + 1..],
            },
        }
    }
}

/// A function's name without package and receiver.
pub(crate) fn base_name(name: &str) -> &str {
    Parts::of(name).base
}

/// `main.Map[go.shape.int]` without its type arguments; `None` when it has none.
pub(crate) fn without_type_arguments(name: &str) -> Option<String> {
    let parts = Parts::of(name);
    if parts.package.is_empty() || !(parts.receiver.contains('[') || parts.base.contains('[')) {
        return None;
    }
    let strip = |part: &str| match (part.find('['), part.rfind(']')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &part[..start], &part[end + 1..]),
        _ => part.to_owned(),
    };
    let (receiver, base) = (strip(parts.receiver), strip(parts.base));
    Some(if receiver.is_empty() {
        format!("{}.{base}", parts.package)
    } else {
        format!("{}.{receiver}.{base}", parts.package)
    })
}

/// `(*T)` without its decoration.
fn without_star(receiver: &str) -> &str {
    receiver
        .strip_prefix("(*")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(receiver)
}

/// Whether a path is the wanted one or ends in it, whole elements only.
pub(super) fn ends_in(path: &str, wanted: &str) -> bool {
    path == wanted
        || path
            .strip_suffix(wanted)
            .is_some_and(|rest| rest.ends_with('/') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |name| {
            let parts = Parts::of(name);
            (parts.package, parts.receiver, parts.base)
        };
        assert_eq!(parts("main.f"), ("main", "", "f"));
        assert_eq!(parts("a.b/c.(*T).M"), ("a.b/c", "(*T)", "M"));
        assert_eq!(parts("main.main.func1.2"), ("main", "main", "func1.2"));
        assert_eq!(parts("main.Map[go.shape.int]"), ("main", "", "Map[go.shape.int]"));
        assert_eq!(parts("type:.eq.main.T"), ("", "", "type:.eq.main.T"));
        assert_eq!(parts("_rt0_amd64"), ("", "", "_rt0_amd64"));
    }

    #[test]
    fn type_arguments_are_left_out() {
        assert_eq!(
            without_type_arguments("main.Map[go.shape.int]").as_deref(),
            Some("main.Map")
        );
        assert_eq!(
            without_type_arguments("main.(*List[go.shape.[]int]).Push").as_deref(),
            Some("main.(*List).Push")
        );
        assert_eq!(without_type_arguments("main.f"), None);
    }

    #[test]
    fn every_form_of_a_name_matches() {
        let matches = |wanted: &str, name: &str| {
            FunctionName::parse(wanted).is_some_and(|wanted| wanted.fits(name, &|_, _| false))
        };
        for wanted in [
            "M",
            "T.M",
            "(*T).M",
            "pkg.M",
            "pkg.(*T).M",
            "b/pkg.(*T).M",
            "a/b/pkg.T.M",
            "/a/b/pkg.T.M",
        ] {
            assert!(matches(wanted, "a/b/pkg.(*T).M"), "{wanted}");
        }
        for wanted in ["N", "U.M", "kg.M", "/b/pkg.T.M", "main.(*T).M"] {
            assert!(!matches(wanted, "a/b/pkg.(*T).M"), "{wanted}");
        }
        assert!(matches("f", "main.f"));
        assert!(matches("main.f", "main.f"));
        assert!(!matches("main.f", "main.f.func1"));
    }
}
