//! Settings as an operator types them: those that are taken, and those that are refused with the text to write instead.

use std::fs;

use clap::Args;
use latchkey::config::Config;

use crate::process::{Process, fault, try_to_serve};

/// Returns the variables of all settings.
fn variables() -> Vec<String> {
    let command = Config::augment_args(clap::Command::new("latchkey"));
    command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect()
}

#[test]
fn a_refused_value_is_answered_with_what_to_write() {
    let smtp = |url| [("LATCHKEY_MAIL_FROM", "a@example.com"), ("LATCHKEY_SMTP_URL", url)];
    let lan = "write 127.0.0.1:4210 for this machine only, or 0.0.0.0:4210 for every network";
    let levels =
        "write error, warn, info, debug, trace or off, or a level per module as in \"info,latchkey::mail=debug\"";
    let mailbox = "write accounts@example.com or \"Acme <accounts@example.com>\"";
    let cases: &[(&str, &[(&str, &str)])] = &[
        (lan, &[("LATCHKEY_LISTEN", "4210")]),
        (lan, &[("LATCHKEY_LISTEN", ":4210")]),
        ("write 127.0.0.1:4210", &[("LATCHKEY_LISTEN", "localhost:4210")]),
        ("write an address and a port, such as 127.0.0.1:3000", &[("LATCHKEY_LISTEN", "everywhere")]),
        ("write an address and a port", &[("LATCHKEY_LISTEN", "127.0.0.1")]),
        ("0.0.0.0:80 for every network", &[("LATCHKEY_REDIRECT_LISTEN", "80")]),
        ("write 127.0.0.1:9464", &[("LATCHKEY_METRICS_LISTEN", ":9464")]),
        (mailbox, &[("LATCHKEY_MAIL_FROM", "acme")]),
        (mailbox, &[("LATCHKEY_MAIL_FROM", "Acme accounts@example.com")]),
        (mailbox, &[("LATCHKEY_MAIL_REPLY_TO", "help@")]),
        (levels, &[("LATCHKEY_LOG", "loud")]),
        (levels, &[("LATCHKEY_LOG", "info,latchkey::mail")]),
        (levels, &[("LATCHKEY_LOG", "info,latchkey::mail=loud")]),
        ("write an address or a network, such as 127.0.0.1 or 10.0.0.0/8", &[("LATCHKEY_TRUSTED_PROXIES", "proxy")]),
        ("LATCHKEY_SMTP_URL: tls=none is refused, because", &smtp("smtp://mail.example.com?tls=none")),
        ("LATCHKEY_SMTP_URL: tls=opportunistic is refused, because", &smtp("smtp://localhost?tls=opportunistic")),
        ("LATCHKEY_SMTP_URL: tls=none is refused", &smtp("smtps://sam:tell-nobody@mail.example.com?tls=none")),
        ("the only option is ?tls=required", &smtp("smtp://mail.example.com?timeout=5")),
        ("an IPv6 address does not work there", &smtp("smtp://sam:tell-nobody@[::1]:2525")),
        ("the only option is ?tls=required", &smtp("smtp://mail.example.com?tls=required&starttls=tell-nobody")),
    ];
    let faults: Vec<_> = cases.iter().filter_map(|(words, settings)| fault(words, settings)).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
}

#[test]
fn an_empty_variable_is_the_same_as_none() {
    let empty: Vec<_> = variables().into_iter().map(|name| (name, "")).collect();
    assert!(empty.len() > 30, "all settings: {empty:?}");
    let empty: Vec<_> = empty.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let process = Process::new(&empty);
    let ran = try_to_serve(process.command(&["serve", "--listen", "127.0.0.1:0"]));
    assert!(ran.out.contains("is ready"), "{ran:?}");
    assert!(process.path("data/latchkey.db").exists(), "the defaults hold");
    let misspelt = Process::new(&[("LATCHKEY_LISTENS", "")]).run(&["serve"]);
    assert!(misspelt.err.contains("LATCHKEY_LISTENS is not a setting"), "{misspelt:?}");
}

#[test]
fn a_flag_without_its_value_is_refused() {
    let ran = Process::new(&[]).run(&["serve", "--data-dir", ""]);
    assert!(ran.err.contains("LATCHKEY_DATA_DIR (--data-dir): \"\" is "), "{ran:?}");
}

#[test]
fn the_example_of_an_environment_starts_with_every_line_taken() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let lines = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let settings: Vec<_> = lines.filter(|(name, _)| name.starts_with("LATCHKEY_")).collect();
    let ran = try_to_serve(Process::new(&settings).command(&["serve", "--listen", "127.0.0.1:0"]));
    assert!(ran.out.contains("is ready"), "{ran:?}");
}
