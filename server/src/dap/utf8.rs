//! Text from bytes that arrive in pieces.

/// Turns a stream of bytes into text without breaking characters at the ends of pieces. Bytes that are not UTF-8
/// become replacement characters.
#[derive(Debug, Default)]
pub(crate) struct Utf8Stream {
    /// The beginning of a character whose end has not come yet: at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// The text that is complete with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut whole = std::mem::take(&mut self.pending);
        whole.extend_from_slice(bytes);
        let mut text = String::with_capacity(whole.len());
        let mut chunks = whole.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_beginning(invalid) {
                self.pending = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the stream's end.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Whether more bytes could make this a character.
fn is_beginning(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_whole_however_the_bytes_arrive() {
        let text = "a€𝄞ü\n";
        for size in 1..=text.len() {
            let mut stream = Utf8Stream::default();
            let whole: String = text.as_bytes().chunks(size).map(|piece| stream.push(piece)).collect();
            assert_eq!(whole + &stream.finish(), text, "{size}");
        }
    }

    #[test]
    fn what_is_not_text_is_replaced_and_does_not_wait() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(stream.push(b"\xff"), "\u{fffd}");
        assert_eq!(stream.push(b"\xe2\x82"), "");
        assert_eq!(stream.finish(), "\u{fffd}");
    }
}
