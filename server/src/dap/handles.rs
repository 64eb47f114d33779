//! Numbers that stand for things until the program moves on.

/// The first number. Zero means "nothing there" in the protocol; Delve begins here too.
const FIRST: i64 = 1000;

/// Things by number. All are forgotten at the next stop, and the numbers begin anew then, as the protocol has it
/// ("Lifetime of Object References").
#[derive(Debug)]
pub(crate) struct Handles<T> {
    things: Vec<T>,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles { things: Vec::new() }
    }
}

impl<T> Handles<T> {
    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.things.clear();
    }

    /// Keeps a thing; answers its number.
    pub(crate) fn create(&mut self, thing: T) -> i64 {
        self.things.push(thing);
        FIRST + self.things.len() as i64 - 1
    }

    /// The thing of that number.
    pub(crate) fn get(&self, number: i64) -> Option<&T> {
        let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
        self.things.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anew_and_unknown_ones_name_nothing() {
        let mut handles = Handles::default();
        assert_eq!((handles.create('a'), handles.create('b')), (1000, 1001));
        assert_eq!(handles.get(1001), Some(&'b'));
        for unknown in [0, -1, 999, 1002, i64::MIN, i64::MAX] {
            assert_eq!(handles.get(unknown), None);
        }
        handles.reset();
        assert_eq!(handles.get(1000), None);
        assert_eq!(handles.create('c'), 1000);
    }
}
