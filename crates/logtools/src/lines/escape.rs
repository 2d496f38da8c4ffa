//! The request as the balancer saw it, from the request as a web server wrote it.
//!
//! Servers escape quotes, backslashes, control and non-ASCII bytes, each in its own way; pen
//! writes bytes as they are, in its file non-ASCII ones as dots and 100 bytes at most.

/// How many bytes of a request pen's log keeps.
pub const PEN_DATA_MAX: usize = 100;

/// Appends the request without its server's escapes: `\" \\ \/ \t \n \r \b \v \f \xHH`.
/// An escape that is none of these stays as it is.
pub fn undo(request: &[u8], out: &mut Vec<u8>) {
    let mut rest = request;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, length) = match rest {
            [_, b'"', ..] => (b'"', 2),
            [_, b'\\', ..] => (b'\\', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b'b', ..] => (8, 2),
            [_, b'v', ..] => (11, 2),
            [_, b'f', ..] => (12, 2),
            [_, b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 4),
                _ => (b'\\', 1),
            },
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// Appends the request as pen's log would hold it: escapes undone, up to the first CR or LF, cut
/// at [`PEN_DATA_MAX`], bytes from 0x80 as dots.
pub fn as_in_pen_log(request: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    // Four escaped bytes make one, so this much is enough, and long requests cost no more.
    undo(&request[..request.len().min(4 * PEN_DATA_MAX)], out);
    let line_end = memchr::memchr2(b'\r', b'\n', &out[begin..]).unwrap_or(out.len() - begin);
    out.truncate(begin + line_end.min(PEN_DATA_MAX));
    for byte in &mut out[begin..] {
        if !byte.is_ascii() {
            *byte = b'.';
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, plain: &[u8]) {
        let mut out = Vec::new();
        undo(request.as_bytes(), &mut out);
        assert_eq!(out, plain, "{request}");
    }

    #[test]
    fn escapes_of_apache_and_nginx_are_undone() {
        check(r#"GET /q?s=\"x\""#, b"GET /q?s=\"x\"");
        check(r"GET /q\x22\x5C\xc3\xA5", b"GET /q\"\\\xc3\xa5");
        check(r"a\tb\\c\n\r\b\v\f", b"a\tb\\c\n\r\x08\x0b\x0c");
        check(r"odd \q \x1 \xzz \", br"odd \q \x1 \xzz \");
        check("", b"");
    }

    #[test]
    fn pen_keeps_a_hundred_bytes_of_the_first_line_without_umlauts() {
        let mut out = b"kept ".to_vec();
        as_in_pen_log("GET /smörgås".as_bytes(), &mut out);
        assert_eq!(out, b"kept GET /sm..rg..s");
        out.clear();
        as_in_pen_log(&[b'x'; 300], &mut out);
        assert_eq!(out, [b'x'; 100]);
        out.clear();
        as_in_pen_log(r"\x41".repeat(150).as_bytes(), &mut out);
        assert_eq!(out, [b'A'; 100]);
        out.clear();
        as_in_pen_log(br"GET /a\r\nHost: b", &mut out);
        assert_eq!(out, b"GET /a");
    }
}
