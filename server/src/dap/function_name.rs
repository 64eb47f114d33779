//! Function names as editors show them.

/// The package path of a function's full name: `net/http` of `net/http.(*Server).Serve`. Empty for names without one.
pub(crate) fn package(name: &str) -> &str {
    // Type arguments carry paths of their own.
    let name = name.split('[').next().unwrap_or(name);
    let base = name.rfind('/').unwrap_or(0);
    match name[base..].find('.') {
        Some(dot) => &name[..base + dot],
        None => "",
    }
}

/// A function's name with its package path cut to the package's name: `http.(*Server).Serve`. `???` for no function.
pub(crate) fn short(name: Option<&str>) -> &str {
    let Some(name) = name else { return "???" };
    match package(name).rfind('/') {
        Some(slash) => &name[slash + 1..],
        None => name,
    }
}

/// Whether code belongs to package `runtime`. Code that belongs to no function is taken for the runtime's.
pub(crate) fn is_in_runtime(name: Option<&str>) -> bool {
    name.is_none_or(|name| package(name) == "runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_packages_name_alone() {
        for (name, in_package, shown) in [
            ("main.main", "main", "main.main"),
            ("net/http.(*Server).Serve", "net/http", "http.(*Server).Serve"),
            (
                "example.org/a/b.F[go.shape.int]",
                "example.org/a/b",
                "b.F[go.shape.int]",
            ),
            ("main.F[example.org/a/b.T]", "main", "main.F[example.org/a/b.T]"),
            ("runtime.gopark", "runtime", "runtime.gopark"),
            ("_cgo_panic", "", "_cgo_panic"),
        ] {
            assert_eq!(package(name), in_package);
            assert_eq!(short(Some(name)), shown);
        }
        assert_eq!(short(None), "???");
        assert!(is_in_runtime(None) && is_in_runtime(Some("runtime.main")));
        assert!(!is_in_runtime(Some("runtime/debug.Stack")));
    }
}
