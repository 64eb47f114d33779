//! Questions to `go list`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use super::Toolchain;

/// The directory that holds the sources of `package`: where `go test` runs its tests. `None` when `go list` cannot tell.
pub(crate) fn directory_of(toolchain: &Toolchain, package: &str, from: Option<&Path>) -> Option<PathBuf> {
    let mut command = toolchain.command();
    command.args(["list", "-f", "{{.Dir}}", package]);
    if let Some(from) = from {
        command.current_dir(from);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    let directory = String::from_utf8(output.stdout).ok()?;
    let directory = directory.trim();
    (!directory.is_empty()).then(|| directory.into())
}

/// Where the client keeps its sources; editors hand it back with an attach request (`guessSubstitutePath`).
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModuleDirectories {
    import_path_of_main_package: String,
    #[serde(rename = "ClientGOROOT")]
    client_goroot: String,
    #[serde(rename = "ClientModuleDirectories")]
    client_modules: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListEntry {
    #[serde(default)]
    dir: String,
    #[serde(default)]
    import_path: String,
    #[serde(default)]
    name: String,
    module: Option<Module>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    path: String,
}

/// Asks `go list` and `go env` about the module in the working directory.
///
/// The error is a sentence for the user.
pub(crate) fn module_directories() -> Result<ModuleDirectories, String> {
    let toolchain = Toolchain::find(&[]).map_err(|error| error.to_string())?;
    let run = |mut command: Command, name: &str| {
        let output = command
            .output()
            .map_err(|error| format!("could not run {}: {error}", toolchain.path().display()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!(
            "error running {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    };
    let mut list = toolchain.command();
    list.args(["list", "--json", "all"]);
    let listed = run(list, "go list")?;
    let mut environment = toolchain.command();
    environment.args(["env", "GOROOT"]);
    let goroot = String::from_utf8_lossy(&run(environment, "go env")?).trim().to_owned();
    collect(&listed, goroot)
}

fn collect(listed: &[u8], client_goroot: String) -> Result<ModuleDirectories, String> {
    let mut main_packages: Vec<String> = Vec::new();
    let mut directories: BTreeMap<String, String> = BTreeMap::new();
    for entry in serde_json::Deserializer::from_slice(listed).into_iter::<ListEntry>() {
        let entry = entry.map_err(|error| format!("could not read the answer of go list: {error}"))?;
        let Some(module) = entry.module else { continue };
        let Some(below) = entry.import_path.strip_prefix(&module.path) else {
            continue;
        };
        let mut directory = Path::new(&entry.dir);
        for _ in below.matches('/') {
            directory = directory.parent().unwrap_or(directory);
        }
        let directory = directory.display().to_string();
        match directories.get(&module.path) {
            Some(known) if *known != directory => {
                return Err(format!(
                    "could not determine path for module {} (got {known:?} and {directory:?})",
                    module.path
                ));
            }
            Some(_) => {}
            None => {
                directories.insert(module.path, directory);
            }
        }
        if entry.name == "main" && !main_packages.contains(&entry.import_path) {
            main_packages.push(entry.import_path);
        }
    }
    // With several programs in one module, nobody can tell which of them is meant.
    let import_path_of_main_package = if main_packages.len() == 1 {
        main_packages.remove(0)
    } else {
        String::new()
    };
    Ok(ModuleDirectories {
        import_path_of_main_package,
        client_goroot,
        client_modules: directories,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_directories_are_those_above_their_packages() {
        let listed = br#"
            {"Dir": "/src/m/cmd/a", "ImportPath": "example.com/m/cmd/a", "Name": "main", "Module": {"Path": "example.com/m"}}
            {"Dir": "/src/m", "ImportPath": "example.com/m", "Name": "m", "Module": {"Path": "example.com/m"}}
            {"Dir": "/usr/local/go/src/fmt", "ImportPath": "fmt", "Name": "fmt"}
        "#;
        let found = collect(listed, "/usr/local/go".to_owned()).expect("an answer");
        assert_eq!(
            serde_json::to_string(&found).expect("JSON"),
            r#"{"ImportPathOfMainPackage":"example.com/m/cmd/a","ClientGOROOT":"/usr/local/go","ClientModuleDirectories":{"example.com/m":"/src/m"}}"#
        );
    }

    #[test]
    fn two_main_packages_leave_the_choice_open() {
        let listed = br#"
            {"Dir": "/m/a", "ImportPath": "m/a", "Name": "main", "Module": {"Path": "m"}}
            {"Dir": "/m/b", "ImportPath": "m/b", "Name": "main", "Module": {"Path": "m"}}
        "#;
        assert_eq!(
            collect(listed, String::new())
                .expect("an answer")
                .import_path_of_main_package,
            ""
        );
    }
}
