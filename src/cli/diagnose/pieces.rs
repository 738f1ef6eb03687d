//! A log in pieces that end where a log entry ends, so that a file of any size is read with little memory and no entry is
//! cut in two.

use std::io::{self, Read};

use crate::domain::signature::starts_entry;

/// Usual size of a piece, bytes.
const PIECE: usize = 1 << 20;

/// From here on an entry or a line is cut, bytes; no piece is larger than this and one [`PIECE`].
const LARGEST: usize = 8 << 20;

/// Reads a log piece by piece.
pub(super) struct Pieces<R> {
    input: R,
    /// Read and not given yet.
    rest: Vec<u8>,
    /// Number of the next piece's first line, from 1.
    line: u32,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, rest: Vec::new(), line: 1, ended: false }
    }

    /// The next piece with the number of its first line; `None` at the end. What is not UTF-8 is replaced.
    pub(super) fn next(&mut self) -> io::Result<Option<(u32, String)>> {
        loop {
            self.fill()?;
            let end = if self.ended {
                self.rest.len()
            } else if let Some(end) = last_entry(&self.rest) {
                end
            } else if self.rest.len() < LARGEST {
                continue;
            } else {
                self.rest
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(self.rest.len(), |at| at + 1)
            };
            if end == 0 {
                return Ok(None);
            }
            let after = self.rest.split_off(end);
            let piece = std::mem::replace(&mut self.rest, after);
            let first = self.line;
            let text = String::from_utf8(piece)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            let lines = text.matches('\n').count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            return Ok(Some((first, text)));
        }
    }

    /// How many lines were read so far.
    pub(super) fn lines(&self) -> u32 {
        self.line - 1
    }

    /// Reads one more piece's worth, or to the end.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = u64::try_from(PIECE).unwrap_or(u64::MAX);
        let got = self.input.by_ref().take(wanted).read_to_end(&mut self.rest)?;
        self.ended = got < PIECE;
        Ok(())
    }
}

/// Where the last entry of these bytes starts, when one starts after the first line.
fn last_entry(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    while let Some(newline) = bytes[..end].iter().rposition(|byte| *byte == b'\n') {
        let line = &bytes[newline + 1..bytes.len().min(newline + 201)];
        if starts_entry(&String::from_utf8_lossy(line)) {
            return Some(newline + 1);
        }
        end = newline;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u32, String)> {
        let mut pieces = Pieces::new(bytes);
        let mut all = vec![];
        while let Some(piece) = pieces.next().unwrap() {
            all.push(piece);
        }
        all
    }

    #[test]
    fn pieces_start_with_entries_and_together_are_the_file() {
        let entry = format!("26/11/23 05:40:52 ERROR A: x\n{}", "\tat b\n".repeat(40));
        let text = entry.repeat(12_000);
        let pieces = all(text.as_bytes());
        assert!(pieces.len() > 2);
        assert_eq!(pieces.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
        for (line, piece) in &pieces {
            assert!(
                piece.starts_with("26/11/23") && (line - 1) % 41 == 0 && piece.len() <= LARGEST
            );
        }
    }

    #[test]
    fn endless_lines_broken_text_and_nothing_are_read_within_bounds() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\xff\n"), [(1, "\u{fffd}\n".to_owned())]);
        let endless = vec![b'x'; 20 << 20];
        let pieces = all(&endless);
        assert!(
            pieces.len() >= 2
                && pieces.iter().all(|(line, text)| *line == 1 && text.len() <= LARGEST + PIECE)
        );
        let lines = "no entry\n".repeat(2 << 20);
        let pieces = all(lines.as_bytes());
        assert!(
            pieces.iter().all(|(_, text)| text.len() <= LARGEST + PIECE && text.ends_with('\n'))
        );
        assert_eq!(pieces[1].0, u32::try_from(pieces[0].1.len() / 9).unwrap() + 1);
    }
}
