//! The packages that a program is made of, as its compilation units name them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gimli::constants as dw;

use crate::Binary;
use crate::units::UnitRecord;

/// A package of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its import path, which is the name of its unit.
    pub path: String,
    /// The source file in which its code begins. The compiler may have begun with code that it inlined from another package.
    pub first_file: Arc<str>,
    /// The files that its line table names, inlined code included.
    pub files: BTreeSet<Arc<str>>,
}

impl Binary {
    /// The file of the first row of a unit's line table, in the order of its program: a row of code that the linker dropped counts as well.
    fn first_file(&self, record: &UnitRecord) -> Option<Arc<str>> {
        let mut rows = self.line_header(record).ok()??.rows();
        let (_, row) = rows.next_row().ok()??;
        self.file_of_unit(record, row.file_index())
    }

    /// The Go packages with a line table, sorted by their paths. Units of one path count as one package, which begins with the first of them that begins with
    /// a source file: assembly is in units of its own, and what the compiler generates is in no file.
    pub fn packages(&self) -> Vec<Package> {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        let (Ok(units), Ok(dwarf)) = (self.units(), self.dwarf()) else {
            return Vec::new();
        };
        for (index, record) in units.records.iter().enumerate() {
            if !record.is_go || record.line_program.is_none() {
                continue;
            }
            let name = || {
                let unit = self.unit(&dwarf, index).ok()?;
                let root = unit.inner.entry(unit.inner.header.root_offset()).ok()?;
                unit.string_value(root.attr_value(dw::DW_AT_name)?)
            };
            let Some(path) = name() else { continue };
            if !packages.contains_key(&path) {
                let Some(first_file) = self.first_file(record).filter(|file| is_source(file)) else {
                    continue;
                };
                let package = Package {
                    path: path.clone(),
                    first_file,
                    files: BTreeSet::new(),
                };
                packages.insert(path.clone(), package);
            }
            let files = self.files_of_unit(record).iter().filter(|file| !file.is_empty());
            if let Some(package) = packages.get_mut(&path) {
                package.files.extend(files.cloned());
            }
        }
        packages.into_values().collect()
    }
}

/// Whether a file is one that a Go programmer writes.
fn is_source(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|extension| extension == "go" || extension == "s")
}
