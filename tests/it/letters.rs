//! The full text of each letter in each language, in `tests/it/snapshots`. After an intended change,
//! `INSTA_UPDATE=always cargo test letters` writes the snapshots again, and the diff shows what users will read.

use std::collections::BTreeSet;

use latchkey::accounts::Asked;
use latchkey::locale::Locale;
use latchkey::look::theme::Theme;
use latchkey::mail::letters::{
    AccountCreated, AlreadyRegistered, ConfirmSignup, DevicesEnded, EmailAdded, EmailRemoved, MailTest, NewDevice,
    NewDevices, NotMe, PasswordChanged, Rendered, ResetPassword, Site,
};
use time::macros::datetime;

const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn each_letter(locale: Locale) -> [(&'static str, Rendered); 12] {
    let site = Site {
        name: "Acme",
        home: "https://accounts.example.com",
        address: "sam@example.com",
        locale,
        theme: &Theme::default(),
    };
    let at = datetime!(2026-11-22 08:15 UTC);
    let user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".into();
    let asked = &Asked { at, ip: "203.0.113.9".into(), user_agent, request_id: String::new() };
    let link = |path: &str| format!("{}{path}", site.home);
    let (login_link, reset_link) = (&link("/login"), &link("/forgot-password"));
    let confirm = ConfirmSignup { link: &link(&format!("/signup/confirm?token={TOKEN}")), asked };
    let reset = ResetPassword { link: &link(&format!("/reset-password?token={TOKEN}")), asked };
    let (not_me, times) = (&link(&format!("/not-me?token={TOKEN}")), &13);
    let several = NewDevices { link: not_me, log_ins: &vec![asked.clone(); 10], more: &3, times };
    let rendered = [
        ("confirm_signup", confirm.render(site)),
        ("already_registered", AlreadyRegistered { login_link, reset_link, asked }.render(site)),
        ("reset_password", reset.render(site)),
        ("not_me", NotMe { link: reset.link, reset_link, asked }.render(site)),
        ("password_changed", PasswordChanged { reset_link, asked }.render(site)),
        ("account_created", AccountCreated { reset_link, asked }.render(site)),
        ("email_added", EmailAdded { reset_link, asked }.render(site)),
        ("email_removed", EmailRemoved { asked }.render(site)),
        ("new_device", NewDevice { link: not_me, asked }.render(site)),
        ("devices_ended", DevicesEnded { link: not_me, devices: &3, asked }.render(site)),
        ("new_devices", several.render(site)),
        ("mail_test", MailTest { at: &at }.render(site)),
    ];
    rendered.map(|(name, letter)| (name, letter.unwrap()))
}

#[test]
fn each_letter_in_each_language_equals_its_snapshot() {
    for locale in Locale::iter() {
        for (name, letter) in each_letter(*locale) {
            let Rendered { subject, text, html, .. } = letter;
            insta::assert_snapshot!(format!("{name}-{locale}"), format!("{subject}\n\n{text}\n\n{html}"));
        }
    }
}

#[test]
fn each_letter_has_a_snapshot() {
    let parts = ["layout", "parts"];
    let templates = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/letters")).unwrap();
    let names = templates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let letters: BTreeSet<_> = names.filter_map(|name| Some(name.strip_suffix(".txt")?.to_owned())).collect();
    let rendered: BTreeSet<_> = each_letter(Locale::En).map(|(name, _)| name.to_owned()).into();
    let is_missing = |name: &&String| !parts.contains(&name.as_str()) && !rendered.contains(*name);
    let missing: Vec<_> = letters.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "each_letter does not have {missing:?}");
}

#[test]
fn a_letter_is_light_and_plain() {
    for locale in Locale::iter() {
        for (name, letter) in each_letter(*locale) {
            assert!(letter.text.len() + letter.html.len() < 15 * 1024, "{name} in {locale}");
            assert!(!letter.html.contains("<img") && !letter.html.contains(" src="), "{name} loads nothing");
            assert!(letter.html.matches("class=\"btn\"").count() <= 1, "{name} has one button");
            for line in letter.text.lines() {
                let columns: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
                let short = columns <= 76 || line.starts_with("https://");
                assert!(short, "{name} in {locale} has a line of {columns} columns: {line}");
            }
        }
    }
}
