//! A channel: the runtime's structure behind it (runtime/chan.go, `hchan`), with the buffer as the array that it is.

use std::sync::Arc;

use spelunk_dwarf::{Field, Kind, ProcAddr, Type};

use super::limits::Level;
use super::{Content, LoadConfig, Loader, Value};

impl Loader<'_> {
    /// The fields of the structure behind the channel variable at `addr` and where it is; `None` for a nil channel. The field `buf` is a pointer to an array
    /// of the channel's elements, as with Delve.
    #[expect(clippy::type_complexity)]
    pub(crate) fn channel(
        &self,
        addr: ProcAddr,
        kind: Option<&Kind>,
    ) -> Result<Option<(Arc<[Field]>, ProcAddr)>, String> {
        let Some(Kind::Chan { elem, header }) = kind else {
            return Err("bad channel type".to_owned());
        };
        let base = ProcAddr(self.uint(addr, 8)?);
        if base.0 == 0 {
            return Ok(None);
        }
        let header = self.type_or_error(*header).map_err(|(_, why)| why)?;
        let Kind::Struct { fields } = &header.kind else {
            return Err("bad channel type".to_owned());
        };
        let size = fields.iter().find(|field| &*field.name == "dataqsiz");
        let size = size.ok_or("bad channel type")?;
        let capacity = self.uint(ProcAddr(base.0.wrapping_add(size.offset)), 8)?;
        // A length that no memory holds leaves the pointer as the runtime has it.
        let buffer = self
            .binary
            .array_of(*elem, capacity)
            .and_then(|array| self.binary.pointer_to(array));
        let with_buffer = |field: &Field| match &buffer {
            Ok(ty) if &*field.name == "buf" => Field {
                ty: *ty,
                ..field.clone()
            },
            _ => field.clone(),
        };
        Ok(Some((fields.iter().map(with_buffer).collect(), base)))
    }

    /// What is shown of a channel whose variable is at `addr` and points to `base`.
    pub(super) fn chan(&self, ty: &Type, addr: ProcAddr, base: u64, level: Level<'_>) -> Result<Content, String> {
        if base == 0 {
            return Ok(Content::NilChan);
        }
        // hchan begins with qcount and dataqsiz.
        let queued = self.uint(ProcAddr(base), 8)?;
        let buffer = self.uint(ProcAddr(base.wrapping_add(8)), 8)?;
        let mut content = Content::Chan {
            queued,
            buffer,
            fields: Vec::new(),
            len: 0,
        };
        let Ok(Some((described, at))) = self.channel(addr, Some(&ty.kind)) else {
            return Ok(content);
        };
        // A record has the two numbers alone; then nothing else of it is shown.
        let readable = described
            .last()
            .is_some_and(|last| self.uint(ProcAddr(at.0.wrapping_add(last.offset)), 1).is_ok());
        let whole = Loader {
            config: LoadConfig::FULL,
            ..*self
        };
        if let Content::Chan { fields, len, .. } = &mut content {
            *len = described.len();
            if readable {
                let stand_in = Value::not_loaded(Arc::new(ty.clone()), at);
                if let Content::Struct { fields: loaded, .. } = whole.structure(&stand_in, &described, level.fresh()) {
                    *fields = loaded;
                }
            }
        }
        Ok(content)
    }
}
