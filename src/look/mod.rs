//! The site's look: its style sheet, script and icon, made once at the start from what is in the binary and
//! what the operator chose. Each is named after its content, so that browsers may keep it for ever and a new
//! version is a new name.

pub mod theme;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::outside::Link;
use crate::urls;
use theme::Theme;

/// The style sheet as it is without a theme; [`theme`] reads the default colours out of it.
const STYLE: &str = include_str!("../../static/app.css");
const SCRIPT: &str = include_str!("../../static/app.js");
const ICON: &str = include_str!("../../static/icon.svg");

/// The most bytes of a logo: it comes with the first page that anybody opens.
const LOGO_MAX: u64 = 64 * 1024;

/// What the site looks like.
#[derive(Debug)]
pub struct Look {
    /// The style sheet, with the site's own colours at its end.
    pub css: Asset,
    /// The script.
    pub js: Asset,
    /// What stands in a browser's tab: the site's logo, or else our key.
    pub icon: Asset,
    /// The colours, for letters, which cannot use the style sheet.
    pub theme: Theme,
    /// Where the logo leads.
    pub home: String,
    /// The operator's links at the foot of every page.
    pub links: Vec<Link>,
    has_logo: bool,
}

impl Look {
    /// Reads the logo and the colours that the settings name.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn open(config: &Config) -> Result<Self, String> {
        let theme = Theme::new(config.theme_light.as_deref(), config.theme_dark.as_deref())?;
        let icon = match &config.logo {
            Some(file) => logo(file).map_err(|why| format!("LATCHKEY_LOGO: {}: {why}", file.display()))?,
            None => Asset::new("icon", SVG, ICON.into()),
        };
        Ok(Self {
            css: Asset::new("app", ("css", "text/css; charset=utf-8"), format!("{STYLE}{}", theme.css()).into()),
            js: Asset::new("app", ("js", "text/javascript; charset=utf-8"), SCRIPT.into()),
            icon,
            theme,
            home: config.home_url.as_ref().map_or(urls::HOME, |home| home.as_str()).to_owned(),
            links: config.links.clone(),
            has_logo: config.logo.is_some(),
        })
    }

    /// The logo's path, if the site has one; without it our key is drawn in the page, in the site's colours.
    pub fn logo(&self) -> Option<&str> {
        self.has_logo.then_some(self.icon.path.as_str())
    }

    /// The file at a path.
    pub fn at(&self, path: &str) -> Option<&Asset> {
        [&self.css, &self.js, &self.icon].into_iter().find(|asset| asset.path == path)
    }
}

/// A file that never changes under its name.
#[derive(Debug)]
pub struct Asset {
    /// Such as `/static/app.0123456789ab.css`.
    pub path: String,
    /// Its content type.
    pub kind: &'static str,
    /// The file.
    pub plain: Vec<u8>,
    /// The file compressed, where that makes it smaller: not for a PNG.
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

/// The site's own logo.
///
/// An SVG may hold scripts. Pages name it in `<img>` and `<link rel=icon>` only, where browsers run none and
/// load nothing for it; to whoever opens its address, it comes in a sandbox (`web::assets`).
fn logo(file: &Path) -> Result<Asset, String> {
    let mut bytes = Vec::new();
    // One byte more than there may be tells too much from enough, however much more there is.
    let read = File::open(file).and_then(|file| file.take(LOGO_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|why| why.to_string())?;
    if bytes.len() as u64 > LOGO_MAX {
        return Err("is over 64 KiB".into());
    }
    let kind = kind(&bytes).ok_or("is not an SVG, PNG or WebP file")?;
    Ok(Asset::new("logo", kind, bytes))
}

/// The extension and the content type, told by the content: a file's name may say anything.
fn kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(("png", "image/png"))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some(("webp", "image/webp"))
    } else {
        str::from_utf8(bytes).is_ok_and(is_svg).then_some(SVG)
    }
}

/// Whether the first element is `<svg>`, after what XML allows in front of it.
fn is_svg(text: &str) -> bool {
    const BEFORE: [(&str, &str); 5] = [
        ("<?", "?>"),
        ("<!--", "-->"),
        ("<!DOCTYPE", ">"),
        // What Illustrator puts inside its DOCTYPE, and the end of that.
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
    fn a_kind_is_told_by_the_content() {
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
