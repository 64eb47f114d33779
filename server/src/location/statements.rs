//! Lines of files.

use spelunk_dwarf::{Binary, FileAddr};

use super::LocationError;

/// Where the code of a line begins: once for each function and each inlined copy that has some. `file` is as the binary names it.
pub(crate) fn places_of_line(binary: &Binary, file: &str, line: i64) -> Result<Vec<FileAddr>, LocationError> {
    let statements = u32::try_from(line).map_or_else(|_| Vec::new(), |line| binary.statements(file, line));
    if !statements.is_empty() {
        return Ok(statements.iter().map(|statement| statement.addr).collect());
    }
    Err(if binary.files().iter().any(|known| **known == *file) {
        LocationError::NoStatement {
            file: file.to_owned(),
            line,
        }
    } else {
        LocationError::NoFile(file.to_owned())
    })
}
