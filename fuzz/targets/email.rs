//! Every text that is accepted as an email address is one address, and stays the same when it is read again.
#![no_main]

use latchkey::accounts::user::email::Email;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(email) = Email::parse(text) else { return };
    assert_eq!(Email::parse(email.as_str()).as_ref(), Ok(&email));
    for form in [email.sendable(), email.canonical()] {
        let again = Email::parse(form).unwrap_or_else(|why| panic!("{form}: {why:?}"));
        assert_eq!(again.canonical(), email.canonical());
        assert!(form.len() <= 254 && form.matches('@').count() == 1, "{form}");
        assert!(!form.contains(|c: char| c.is_control() || c.is_whitespace() || ",;:<>()[]\"\\".contains(c)), "{form}");
    }
});
