//! The browser and the system that a `User-Agent` names, short enough that users recognize their own.
//!
//! A hint and no proof: any client can send any text. Only names from the lists below are shown, so no part of a
//! client's text reaches a page or an email. The lists are ours because the parsers that exist bring hundreds of
//! patterns, for bots and old telephones, where 20 are enough.

use crate::locale::Translation;

/// Browsers, the more specific one first: all of them claim to be Mozilla, and most claim to be Chrome and Safari too.
const BROWSERS: [(&str, &str); 13] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("MicroMessenger/", "WeChat"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

/// Systems, the more specific one first: Android names Linux too, and an iPhone is “like Mac OS X”.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows NT", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Returns the browser and the system that `user_agent` names, such as “Firefox on Linux”.
pub fn browser(user_agent: &str, t: &Translation) -> String {
    let one_of = |list: &[(&str, &'static str)]| {
        list.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| (*name).to_owned())
    };
    match (one_of(&BROWSERS), one_of(&SYSTEMS)) {
        (Some(browser), Some(system)) => t.browser_on_system(browser, system),
        (Some(browser), None) => browser,
        (None, Some(system)) => t.browser_on_system(t.unknown_browser(), system),
        (None, None) => t.unknown_browser().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;

    #[test]
    fn a_browser_has_the_name_that_users_know() {
        let browser = |text: &str| browser(text, Locale::En.t());
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (text, known) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned(), "Firefox on Linux"),
            (format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/142.0.0.0 Safari/537.36"), "Chrome on Windows"),
            (format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"), "Edge on Windows"),
            (format!("Mozilla/5.0 (Linux; Android 16) {webkit} Chrome/142.0.0.0 Mobile Safari/537.36"), "Chrome on Android"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1".to_owned(), "Safari on iPhone"),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15".to_owned(), "Safari on macOS"),
            ("curl/8.14.1".to_owned(), "curl"),
            ("<b>Firefoxy</b> on Linux".to_owned(), "Unknown browser on Linux"),
            (String::new(), "Unknown browser"),
        ] {
            assert_eq!(browser(&text), known, "{text}");
        }
    }
}
