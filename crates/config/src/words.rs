//! The words for the enums of other crates, on the command line and in answers.

use crate::{
    Engine, EventKind, Family, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp, Protocol,
    TapAccess, TlsVersion,
};
use balancing::{AdminState, FailoverScope, Policy};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use terms::{BackendTls, ClientCertificates, Cut, SendProxy, SessionOrder, SpliceMode, Starttls};

/// How `--print-config` prints a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintForm {
    /// As a command line: [`Config::to_command_line`](crate::Config::to_command_line).
    Line,
    /// As a file: [`Config::to_file`](crate::Config::to_file).
    Toml,
}

/// A choice among words.
pub(crate) trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Each word with its choice.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for a choice.
    fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, choice)| *choice == self);
        known.map(|(word, _)| *word).expect("every variant is in its table; a test says so")
    }

    /// The choice a word stands for.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, choice)| *choice)
    }

    /// A parser whose words clap can list in errors and completions.
    fn parser() -> impl TypedValueParser<Value = Self> {
        let words = PossibleValuesParser::new(Self::WORDS.iter().map(|(word, _)| *word));
        words.map(|word| Self::from_word(&word).expect("clap has checked the word"))
    }
}

impl Choice for Policy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("hash", Self::Hash),
        ("least-sessions", Self::LeastSessions),
        ("random", Self::Random),
        ("rotation", Self::Rotation),
        ("address-hash", Self::AddressHash),
        ("address-port-hash", Self::AddressPortHash),
        ("weighted", Self::Weighted),
        ("priority", Self::Priority),
        ("weighted-turn", Self::WeightedTurn),
        ("least-weighted", Self::LeastWeighted),
        ("two", Self::Two),
        ("fastest", Self::Fastest),
        ("maglev", Self::Maglev),
        ("rendezvous", Self::Rendezvous),
    ];
}

impl Choice for SendProxy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("v1", Self::V1),
        ("v2", Self::V2 { unique_id: false, crc32c: false }),
        ("v2-unique-id", Self::V2 { unique_id: true, crc32c: false }),
        ("v2-crc32c", Self::V2 { unique_id: false, crc32c: true }),
        ("v2-unique-id-crc32c", Self::V2 { unique_id: true, crc32c: true }),
    ];
}

impl Choice for Starttls {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("postgresql", Self::Postgresql),
        ("ldap", Self::Ldap),
        ("smtp", Self::Smtp),
        ("imap", Self::Imap),
        ("pop3", Self::Pop3),
    ];
}

impl Choice for ClientCertificates {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("request", Self::Request), ("require", Self::Require)];
}

impl Choice for TlsVersion {
    const WORDS: &'static [(&'static str, Self)] = &[("1.2", Self::V1_2), ("1.3", Self::V1_3)];
}

impl Choice for BackendTls {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("verify", Self::Verify), ("insecure", Self::Insecure)];
}

impl Choice for SpliceMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Choice for FailoverScope {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("whole-tier", Self::WholeTier),
        ("later-tiers", Self::LaterTiers),
        ("nothing", Self::Nothing),
    ];
}

impl Choice for Cut {
    const WORDS: &'static [(&'static str, Self)] =
        &[("reset", Self::Reset), ("close", Self::Close)];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for LogSessions {
    const WORDS: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("problems", Self::Problems), ("none", Self::None)];
}

impl Choice for TapAccess {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("on", Self::On), ("decrypted", Self::Decrypted)];
}

impl Choice for MetricsDetail {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("backend", Self::Backend), ("pool", Self::Pool)];
}

impl Choice for AdminState {
    const WORDS: &'static [(&'static str, Self)] =
        &[("enabled", Self::Enabled), ("draining", Self::Draining), ("disabled", Self::Disabled)];
}

impl Choice for OnDown {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("end-sessions", Self::EndSessions)];
}

impl Choice for Engine {
    const WORDS: &'static [(&'static str, Self)] =
        &[("user", Self::User), ("kernel", Self::Kernel), ("direct", Self::Direct)];
}

impl Choice for OnUp {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("return", Self::Return)];
}

impl Choice for Family {
    const WORDS: &'static [(&'static str, Self)] =
        &[("any", Self::Any), ("ipv4", Self::V4), ("ipv6", Self::V6)];
}

impl Choice for Protocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("tcp", Self::Tcp), ("udp", Self::Udp), ("tcp+udp", Self::Both)];
}

impl Choice for SessionOrder {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("age", Self::Age),
        ("rate", Self::Rate),
        ("bytes", Self::Bytes),
        ("rtt", Self::Rtt),
        ("idle", Self::Idle),
    ];
}

impl Choice for EventKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("ends", Self::Ends), ("changes", Self::Changes)];
}

impl Choice for PrintForm {
    const WORDS: &'static [(&'static str, Self)] = &[("line", Self::Line), ("toml", Self::Toml)];
}

/// The form that a word names, as `--print-config` takes it.
pub fn print_form(word: &str) -> Option<PrintForm> {
    PrintForm::from_word(word)
}

/// The word for a policy, as `--policy` and `ctl policy` take it.
pub fn policy_word(policy: Policy) -> &'static str {
    policy.word()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Choice + std::fmt::Debug>(all: &[T]) {
        assert_eq!(T::WORDS.len(), all.len());
        for choice in all {
            assert_eq!(T::from_word(choice.word()), Some(*choice));
        }
    }

    #[test]
    fn every_choice_has_one_word() {
        check(&Policy::ALL);
        check(&[SpliceMode::Auto, SpliceMode::Always, SpliceMode::Never]);
        check(&[FailoverScope::WholeTier, FailoverScope::LaterTiers, FailoverScope::Nothing]);
        check(&[Cut::Reset, Cut::Close]);
        check(&[TlsVersion::V1_2, TlsVersion::V1_3]);
        check(&[ClientCertificates::Off, ClientCertificates::Request, ClientCertificates::Require]);
        check(&[BackendTls::Off, BackendTls::Verify, BackendTls::Insecure]);
        check(&[LogFormat::Text, LogFormat::Json]);
        check(&[LogSessions::All, LogSessions::Problems, LogSessions::None]);
        check(&[TapAccess::Off, TapAccess::On, TapAccess::Decrypted]);
        check(&[MetricsDetail::Auto, MetricsDetail::Backend, MetricsDetail::Pool]);
        check(&[Family::Any, Family::V4, Family::V6]);
        check(&[Engine::User, Engine::Kernel, Engine::Direct]);
        check(&[OnDown::Keep, OnDown::EndSessions]);
        check(&[OnUp::Keep, OnUp::Return]);
        check(&[PrintForm::Line, PrintForm::Toml]);
        check(&[EventKind::Ends, EventKind::Changes]);
        check(&[
            SessionOrder::Age,
            SessionOrder::Rate,
            SessionOrder::Bytes,
            SessionOrder::Rtt,
            SessionOrder::Idle,
        ]);
        check(&[AdminState::Enabled, AdminState::Draining, AdminState::Disabled]);
    }
}
