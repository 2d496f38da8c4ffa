//! The packet dump of `-p`.

use std::fmt::Write as _;

/// Which way a block was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client, shown as `->`.
    FromClient,
    /// From the server, shown as `-<`.
    FromServer,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Some bytes.
    Data(&'a [u8]),
    /// The end of the stream, shown as length 0.
    End,
    /// A read error such as a reset, shown as length -1.
    Error,
}

/// One block as text, to be written whole.
///
/// Printable ASCII stands for itself, a backslash is doubled, other bytes are `\XX`. A newline
/// byte breaks the line after its `\0A`; so does any byte with which the line exceeds 80 columns.
/// Source: balance(1), `-p`.
pub fn render_dump(direction: Direction, block: Block<'_>) -> String {
    let arrow = match direction {
        Direction::FromClient => "->",
        Direction::FromServer => "-<",
    };
    let bytes = match block {
        Block::Data(bytes) => bytes,
        Block::End => return format!("{arrow} 0\n\n"),
        Block::Error => return format!("{arrow} -1\n\n"),
    };
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 16 + 16);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{arrow} {}", bytes.len());
    let mut columns = 0;
    for &byte in bytes {
        let before = text.len();
        match byte {
            b'\\' => text.push_str(r"\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
        columns += text.len() - before;
        if byte == b'\n' || columns > LINE_COLUMNS {
            text.push('\n');
            columns = 0;
        }
    }
    text.push('\n');
    text
}

const LINE_COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: &str) {
        let expected = format!("-> {}\n{expected}", input.len());
        assert_eq!(render_dump(Direction::FromClient, Block::Data(input)), expected);
    }

    #[test]
    fn bytes_are_readable() {
        check(b"hello world\n", "hello world\\0A\n\n");
        check(
            b"back\\slash tab\t nul\0 del\x7f hi\xe9\xff",
            "back\\\\slash tab\\09 nul\\00 del\\7F hi\\E9\\FF\n",
        );
        check(b"two\r\nlines\r\n", "two\\0D\\0A\nlines\\0D\\0A\n\n");
    }

    #[test]
    fn lines_break_past_eighty_columns() {
        let a = |n| "a".repeat(n);
        check(a(200).as_bytes(), &format!("{}\n{}\n{}\n", a(81), a(81), a(38)));
        check(format!("{}\n", a(81)).as_bytes(), &format!("{}\n\\0A\n\n", a(81)));
        check(format!("{}\n", a(80)).as_bytes(), &format!("{}\\0A\n\n", a(80)));
        let escapes = |n| "\\01".repeat(n);
        check(
            &[&[1; 60][..], b"z"].concat(),
            &format!("{}\n{}\n{}z\n", escapes(27), escapes(27), escapes(6)),
        );
        // A doubled backslash is not torn apart.
        check(format!("{}\\", a(80)).as_bytes(), &format!("{}\\\\\n\n", a(80)));
    }

    #[test]
    fn ends_have_an_empty_text() {
        assert_eq!(render_dump(Direction::FromServer, Block::End), "-< 0\n\n");
        assert_eq!(render_dump(Direction::FromClient, Block::Error), "-> -1\n\n");
    }
}
