//! Every text that is accepted as a username is one name and no email address, and stays the same when it is read again.
#![no_main]

use latchkey::accounts::user::email::Email;
use latchkey::accounts::user::username::{FullName, Username};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = FullName::parse(text) {
        assert_eq!(FullName::parse(name.as_str()).as_ref(), Ok(&name));
        assert!(!name.as_str().contains(char::is_control));
    }
    let Ok(name) = Username::parse(text) else { return };
    assert_eq!(Username::parse(name.as_str()).as_ref(), Ok(&name));
    for form in [name.as_str(), name.canonical()] {
        let again = Username::parse(form).unwrap_or_else(|why| panic!("{form}: {why:?}"));
        assert_eq!(again.canonical(), name.canonical());
        assert!(!form.contains('@') && Email::parse(form).is_err(), "{form}");
    }
});
