//! What `-d` prints, and the few notices that the classic prints without it.
//!
//! Only [`banner`] goes to standard output; the rest to standard error. Every text ends with its
//! newline, except [`trying`], whose line the result completes.

use config::{Endpoint, Pool};
use std::net::IpAddr;

/// The two lines at the start, in every mode, on standard output.
pub fn banner(argv0: &str, bind_text: Option<&str>) -> String {
    format!("argv[0]={argv0}\nbindhost={}\n", bind_text.unwrap_or("NULL"))
}

/// The port, once it is understood.
pub fn source_port(port: u16) -> String {
    format!("source port {port}\n")
}

/// The kind of socket, when listening.
pub fn address_family(ipv6: bool) -> String {
    format!("using {}\n", if ipv6 { "AF_INET6" } else { "AF_UNSPEC" })
}

/// The list of channels, when listening.
pub fn active_channels(pool: &Pool) -> String {
    let mut text = String::from("the following channels are active:\n");
    for (group, tier) in pool.tiers.iter().enumerate() {
        for (channel, backend) in tier.backends.iter().enumerate() {
            let maxc = backend.limits.sessions_max.number();
            let endpoint: &Endpoint = &backend.endpoint;
            text.push_str(&format!("{group:3} {channel:2} {endpoint}:{maxc}\n"));
        }
    }
    text
}

/// A client was accepted. The length is that of its socket address.
pub fn connect_from(client: IpAddr) -> String {
    let length = match client {
        IpAddr::V4(_) => 16,
        IpAddr::V6(_) => 28,
    };
    format!("connect from {client} clilen={length}\n")
}

/// A hash group was asked: the client's hash, and the channel it gives among `channels`.
pub fn hash_choice(hash: u32, channels: u32) -> String {
    // A group without channels is not asked, but a debug line must not end the program.
    let index = hash.checked_rem(channels).unwrap_or(0);
    format!("HASH-method: fold returns {hash}\nmodulo {channels} gives {index}\n")
}

/// An attempt begins; the result follows on the same line.
pub fn trying(group: usize, channel: usize) -> String {
    format!("trying group {group} channel {channel} ... ")
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// Connected.
    Successful,
    /// Too slow.
    TimedOut,
    /// Any other failure.
    Refused,
}

/// The rest of the line that [`trying`] began.
pub fn attempt_result(result: AttemptResult, group: usize, channel: usize) -> String {
    match result {
        AttemptResult::Successful => format!("connect to channel {channel} successful\n"),
        AttemptResult::TimedOut => format!("timeout group {group} channel {channel}\n"),
        AttemptResult::Refused => format!("connection refused group {group} channel {channel}\n"),
    }
}

/// With `-H`, the hashed channel could not be used on accept, and another was found.
pub fn hash_failover(group: usize, channel: usize) -> String {
    format!("channel disabled - hashfailover.\nchannel choosen: {channel} in group {group}.\n")
}

/// With `-H`, no channel of the group could be used on accept.
pub fn hash_failover_exhausted(group: usize) -> String {
    format!("channel disabled - hashfailover.\nno valid channel in group {group}.\n")
}

/// Without `-H`, the hashed channel could not be used on accept.
pub fn hashed_channel_unusable(group: usize) -> String {
    format!("no valid channel in group {group}. Failover?\n")
}

/// `-a` disabled a channel: two lines, which go to syslog as notices when there is no terminal.
pub fn auto_disabled(group: usize, channel: usize, address: &str) -> [String; 2] {
    [
        format!("connection failed group {group} channel {channel}"),
        format!(
            "{address} needs to be enabled manually using balance -i after the problem is solved"
        ),
    ]
}

/// `-T` ended a connection.
pub fn timed_out(seconds: u64) -> String {
    format!("timed out after {seconds} seconds\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{BalanceArgs, Mode};

    #[test]
    fn the_texts_of_the_original() {
        let check = |text: String, expected: &str| assert_eq!(text, expected);
        check(banner("balance", None), "argv[0]=balance\nbindhost=NULL\n");
        check(banner("./b", Some("::1")), "argv[0]=./b\nbindhost=::1\n");
        check(source_port(21448), "source port 21448\n");
        check(address_family(false), "using AF_UNSPEC\n");
        check(address_family(true), "using AF_INET6\n");
        check(connect_from("::1".parse().unwrap()), "connect from ::1 clilen=28\n");
        check(connect_from("127.0.0.1".parse().unwrap()), "connect from 127.0.0.1 clilen=16\n");
        check(
            hash_choice(3231995906, 3),
            "HASH-method: fold returns 3231995906\nmodulo 3 gives 2\n",
        );
        let tried = |result| trying(0, 1) + &attempt_result(result, 0, 1);
        check(
            tried(AttemptResult::Refused),
            "trying group 0 channel 1 ... connection refused group 0 channel 1\n",
        );
        check(
            tried(AttemptResult::TimedOut),
            "trying group 0 channel 1 ... timeout group 0 channel 1\n",
        );
        check(
            tried(AttemptResult::Successful),
            "trying group 0 channel 1 ... connect to channel 1 successful\n",
        );
        check(
            hash_failover(0, 1),
            "channel disabled - hashfailover.\nchannel choosen: 1 in group 0.\n",
        );
        check(
            hash_failover_exhausted(0),
            "channel disabled - hashfailover.\nno valid channel in group 0.\n",
        );
        check(hashed_channel_unusable(0), "no valid channel in group 0. Failover?\n");
        check(timed_out(1), "timed out after 1 seconds\n");
        check(
            auto_disabled(0, 0, "127.0.0.1:21314").join("\n"),
            "connection failed group 0 channel 0\n127.0.0.1:21314 needs to be enabled manually \
             using balance -i after the problem is solved",
        );
    }

    #[test]
    fn channels_are_listed() {
        let words = ["80", "127.0.0.1:21983", "127.0.0.1:21598:7", "!", "127.0.0.1:5"];
        let args = BalanceArgs::parse("balance", &words).unwrap();
        let Mode::Proxy(proxy) = args.mode(&|_| None).unwrap() else { panic!("not a proxy") };
        let config = proxy.to_config(&|_| None).unwrap();
        assert_eq!(
            active_channels(&config.pools[0]),
            "the following channels are active:\n  0  0 127.0.0.1:21983:0\n  \
             0  1 127.0.0.1:21598:7\n  1  0 127.0.0.1:5:0\n"
        );
    }
}
