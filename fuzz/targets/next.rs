//! Every text that is accepted as the next page is a page of this site.
#![no_main]

use latchkey::urls::Next;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|text: &str| {
    let Some(next) = Next::parse(text) else { return };
    let path = next.as_str();
    assert!(path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(Next::parse(path).as_ref(), Some(&next));
    let base = Url::parse("https://accounts.example.com").expect("an address");
    for read in [path.to_owned(), path.replace('\\', "/")] {
        assert_eq!(base.join(&read).expect("an address").origin(), base.origin());
    }
});
