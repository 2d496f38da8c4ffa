//! Writes a day of traffic as pen's log and the access logs of three servers, for measuring mergelogs.
//!
//! ~~~text
//! cargo run --release --example generate_logs -- DIR LINES
//! ~~~
//!
//! A third of the requests are for 50 popular pages, a third for 5,000 others, a third are unique.
//! Two of the servers have clocks that are off by a second. The first line is in a log of its
//! own, because the classic program gets the line after the first one wrong.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use logtools::lines::stamp;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let [_, directory, lines] = &words[..] else {
        eprintln!("usage: generate_logs DIR LINES");
        std::process::exit(2);
    };
    let lines: u64 = lines.parse().expect("a number of lines");
    std::fs::create_dir_all(directory)?;
    let create = |name: &str| {
        File::create(Path::new(directory).join(name)).map(|f| BufWriter::with_capacity(1 << 20, f))
    };
    let mut pen = create("pen.log")?;
    let mut first = create("www1.0")?;
    let mut servers = [create("www1")?, create("www2")?, create("www3")?];
    let mut random = Random(88_172_645_463_325_252);
    let begin = 1_739_145_600;
    for i in 0..lines {
        // The same rate all day.
        let now = begin + (i * 86_400 / lines) as i64;
        let server = if i == 0 { 0 } else { random.below(3) as usize };
        let path = match random.below(3) {
            0 => format!("/page/{}.html", random.below(50)),
            1 => format!("/item/{}/view?ref=home", random.below(5_000)),
            _ => format!("/search?q={:x}", random.next() >> 20),
        };
        let client = format!("198.{}.{}.{}", random.below(4), random.below(200), random.below(250));
        writeln!(pen, "{client} {now} 10.0.0.{} GET {path} HTTP/1.1", server + 1)?;
        let mut written = Vec::new();
        stamp::write_access(&mut written, (now + [0, 1, -1][server]) * 1000);
        let out = if i == 0 { &mut first } else { &mut servers[server] };
        write!(out, "10.0.0.100 - - [")?;
        out.write_all(&written)?;
        writeln!(
            out,
            "] \"GET {path} HTTP/1.1\" 200 {} \"https://www.example.org/\" \"Mozilla/5.0 (X11; \
             Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
            random.below(90_000)
        )?;
    }
    Ok(())
}

/// Marsaglia's xorshift: the same traffic every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}
