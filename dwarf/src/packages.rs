//! The packages that a program is made of, as its compilation units name them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gimli::constants as dw;

use crate::Binary;
use crate::units::UnitRecord;

/// A package of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its import path, which is the name of its unit.
    pub path: String,
    /// The file in which its code begins. The compiler may have begun with code that it inlined from another package.
    pub first_file: Option<Arc<str>>,
    /// The files that its line table names, inlined code included.
    pub files: BTreeSet<Arc<str>>,
}

impl Binary {
    /// The file of the first row of a unit's line table.
    fn first_file(&self, record: &UnitRecord) -> Option<Arc<str>> {
        let first = self.rows_of_unit(record).all().first()?;
        self.file_of_unit(record, u64::from(first.file))
    }

    /// The Go packages with a line table, sorted by their paths. Units of one path count as one package, which begins where the first of them does.
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
            let files = self.files_of_unit(record).iter().filter(|file| !file.is_empty());
            let package = packages.entry(path.clone()).or_insert_with(|| Package {
                path,
                first_file: self.first_file(record),
                files: BTreeSet::new(),
            });
            package.files.extend(files.cloned());
        }
        packages.into_values().collect()
    }
}
