//! The site's look: its style sheet, script and icon. They are made once at the start from the files in the binary and the
//! operator's settings. Each is named after its content: browsers may keep it for any time, and a new version has a new
//! name.

mod colour;
pub mod theme;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::config::Settings;
use crate::locale::Locale;
use crate::outside::FooterLink;
use crate::urls;
use theme::Theme;

/// The style sheet without a theme. [`theme`] reads the default colours from it.
const STYLE: &str = include_str!("../../static/app.css");
const SCRIPT: &str = include_str!("../../static/app.js");
const ICON: &str = include_str!("../../static/icon.svg");

/// The largest logo, in bytes. Every visitor loads it with the first page.
const LOGO_MAX: u64 = 64 * 1024;

/// The site's look.
#[derive(Debug)]
pub struct Look {
    /// The style sheet, with the site's own colours at its end.
    pub css: Asset,
    /// The part of the style sheet for a page that has it inside, with a frame, text and a button. A proxy may hand on no
    /// page that is larger than its buffer (HAProxy: 16 KiB).
    pub inline_css: String,
    /// The script.
    pub js: Asset,
    /// The icon in a browser's tab: the site's logo, or our key if it has none.
    pub icon: Asset,
    /// The colours, for emails, which cannot use the style sheet.
    pub theme: Theme,
    /// The address that the logo leads to.
    pub home: String,
    /// The operator's links at the foot of every page.
    pub links: Vec<FooterLink>,
    abouts: Vec<String>,
    has_logo: bool,
}

impl Look {
    /// Reads the logo and the colours that the settings name.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let theme = Theme::new(settings.theme_light.as_deref(), settings.theme_dark.as_deref())?;
        let icon = match &settings.logo {
            Some(file) => logo(file).map_err(|why| format!("LATCHKEY_LOGO: {}: {why}", file.display()))?,
            None => Asset::new("icon", SVG, ICON.into()),
        };
        Ok(Self {
            css: Asset::new("app", ("css", "text/css; charset=utf-8"), format!("{STYLE}{}", theme.css()).into()),
            inline_css: format!("{}{}{}", before(STYLE, "/* 4 Forms"), button(), theme.css()),
            js: Asset::new("app", ("js", "text/javascript; charset=utf-8"), SCRIPT.into()),
            icon,
            theme,
            home: settings.home_url.as_ref().map_or(urls::HOME, |home| home.as_str()).to_owned(),
            links: settings.links.clone(),
            abouts: Locale::iter().map(|locale| about(*locale, &settings.site_name)).collect(),
            has_logo: settings.logo.is_some(),
        })
    }

    /// Returns the logo's path, or `None` if the site has no logo. The page draws our key then, in the site's colours.
    pub fn logo(&self) -> Option<&str> {
        self.has_logo.then_some(self.icon.path.as_str())
    }

    /// Returns what the site is, in a few words, for search engines.
    pub fn about(&self, locale: Locale) -> &str {
        self.abouts.get(locale as usize).map_or("", String::as_str)
    }

    /// Returns the file at a path.
    pub fn at(&self, path: &str) -> Option<&Asset> {
        [&self.css, &self.js, &self.icon].into_iter().find(|asset| asset.path == path)
    }
}

fn before(text: &'static str, end: &str) -> &'static str {
    text.split_once(end).expect("app.css has this part").0
}

fn button() -> &'static str {
    let from = STYLE.find(".btn {").expect("app.css has buttons");
    before(&STYLE[from..], ".btn.quiet {")
}

fn about(locale: Locale, site: &str) -> String {
    locale.t().about(locale.inside(site)).trim().to_owned()
}

/// A file that never changes under its name.
#[derive(Debug)]
pub struct Asset {
    /// The path, such as `/static/app.0123456789ab.css`.
    pub path: String,
    /// The content type.
    pub kind: &'static str,
    /// The file.
    pub plain: Vec<u8>,
    /// The compressed file, or `None` if that is not smaller, as for a PNG.
    pub gzip: Option<Vec<u8>>,
}

impl Asset {
    fn new(stem: &str, (extension, kind): (&str, &'static str), plain: Vec<u8>) -> Self {
        let hash = Sha256::digest(&plain).iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&plain).expect("memory takes all");
        let gzip = Some(gzip.finish().expect("memory takes all")).filter(|gzip| gzip.len() < plain.len());
        Self { path: format!("{}{stem}.{hash}.{extension}", urls::STATIC), kind, plain, gzip }
    }
}

const SVG: (&str, &str) = ("svg", "image/svg+xml");

/// Reads the operator's logo.
///
/// An SVG may contain scripts. Pages name it in `<img>` and `<link rel=icon>` only, where browsers run no script and load
/// nothing for it. A visitor who opens its address gets it in a sandbox (`web::frame::assets`).
fn logo(file: &Path) -> Result<Asset, String> {
    let mut bytes = Vec::new();
    // One byte more than the limit is enough to see that a file is too large, whatever its size.
    let read = File::open(file).and_then(|file| file.take(LOGO_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|why| why.to_string())?;
    if bytes.len() as u64 > LOGO_MAX {
        return Err("is over 64 KiB".into());
    }
    let kind = kind(&bytes).ok_or("is not an SVG, PNG or WebP file")?;
    Ok(Asset::new("logo", kind, bytes))
}

/// Returns the extension and the content type. They come from the content, because a file's name may say anything.
fn kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(("png", "image/png"))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some(("webp", "image/webp"))
    } else {
        str::from_utf8(bytes).is_ok_and(is_svg).then_some(SVG)
    }
}

/// Returns whether the first element is `<svg>`, after what XML allows before it.
fn is_svg(text: &str) -> bool {
    const BEFORE: [(&str, &str); 5] = [
        ("<?", "?>"),
        ("<!--", "-->"),
        ("<!DOCTYPE", ">"),
        // Illustrator writes entities inside its DOCTYPE; the bracket is their end.
        ("<!ENTITY", ">"),
        ("]", ">"),
    ];
    let mut text = text.trim_start_matches('\u{feff}').trim_start();
    while let Some((open, close)) = BEFORE.iter().find(|(open, _)| text.starts_with(open)) {
        let Some((_, rest)) = text[open.len()..].split_once(close) else { return false };
        text = rest.trim_start();
    }
    text.strip_prefix("<svg").is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_the_kind() {
        let extension = |bytes: &[u8]| kind(bytes).map(|(extension, _)| extension);
        assert_eq!(extension(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Some("png"));
        assert_eq!(extension(b"RIFF\x24\0\0\0WEBPVP8 "), Some("webp"));
        for svg in [
            ICON,
            "<svg/>",
            "<svg>",
            "\u{feff}<svg\nwidth='1'>",
            "<?xml version=\"1.0\"?>\n<!-- made by > hand --> <!-- twice -->\n<svg viewBox='0 0 1 1'/>",
            "<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://www.w3.org/svg11.dtd\"><svg/>",
            "<!DOCTYPE svg [ <!ENTITY a \"b\"> <!ENTITY c \"d\"> ]><svg/>",
        ] {
            assert_eq!(extension(svg.as_bytes()), Some("svg"), "{svg}");
        }
        for other in [
            "",
            "\u{89}PNG",
            "RIFF",
            "RIFF....WAVE",
            "GIF89a",
            "svg",
            "<svgs>",
            "<!doctype html><svg/>",
            "<!-- <svg/>",
            "<?xml version=\"1.0\"?><html/>",
            "a <svg/>",
        ] {
            assert_eq!(extension(other.as_bytes()), None, "{other}");
        }
        assert_eq!(extension(b"\xff\xfe<\0s\0v\0g\0"), None);
    }

    #[test]
    fn a_new_content_is_a_new_name() {
        let [one, two] = ["a{}", "b{}"].map(|text| Asset::new("app", ("css", "text/css"), text.into()).path);
        assert!(one.starts_with("/static/app.") && one.ends_with(".css") && one != two, "{one} {two}");
    }
}
