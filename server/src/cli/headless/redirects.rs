//! `-r`: files in place of the program's standard input, output and error.

use std::path::PathBuf;

/// Reads what `-r` names: `stdin:`, `stdout:` or `stderr:` and a path, or a path alone for standard input.
pub(super) fn read(given: &[String]) -> Result<[Option<PathBuf>; 3], String> {
    const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];
    let mut files: [Option<PathBuf>; 3] = [None, None, None];
    for redirect in given {
        let named = NAMES.iter().zip(&mut files).find_map(|(name, file)| {
            let path = redirect.strip_prefix(name)?.strip_prefix(':')?;
            Some((*name, path, file))
        });
        let (name, path, file) = if let Some(named) = named {
            named
        } else {
            let [stdin, ..] = &mut files;
            ("stdin", redirect.as_str(), stdin)
        };
        if file.is_some() {
            return Err(format!("redirect error: {name} redirected twice"));
        }
        // Delve takes an empty path for none.
        *file = (!path.is_empty()).then(|| path.into());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[&str]) -> Result<[Option<PathBuf>; 3], String> {
        read(&given.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn streams_are_named_and_standard_input_need_not_be() {
        assert_eq!(
            parse(&["stdout:/o", "in", "stderr:e:f"]),
            Ok([Some("in".into()), Some("/o".into()), Some("e:f".into())])
        );
        assert_eq!(parse(&["stdout:", "other:x"]), Ok([Some("other:x".into()), None, None]));
    }

    #[test]
    fn a_stream_goes_to_one_place() {
        assert_eq!(
            parse(&["stdin:a", "b"]),
            Err("redirect error: stdin redirected twice".to_owned())
        );
        assert_eq!(
            parse(&["stderr:a", "stderr:b"]),
            Err("redirect error: stderr redirected twice".to_owned())
        );
    }
}
