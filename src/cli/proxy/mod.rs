//! `latchkey app proxy`: the configuration of a proxy that asks who is there, to paste.

use std::fmt::Write;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use url::Url;

use crate::accounts::apps::Application;
use crate::config::Config;
use crate::gate::cookies::{FORWARD, FORWARD_ON_HTTP};
use crate::urls;

/// What `app proxy` prints, as typed.
#[derive(Args)]
pub(super) struct Proxy {
    /// A name or a client_id.
    pub(super) app: String,
    /// Which proxy stands before the app.
    #[arg(long = "for", value_name = "PROXY")]
    kind: Kind,
    /// Where the proxy reaches the app.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    upstream: Address,
    /// Where the proxy reaches Latchkey. Default: LISTEN.
    #[arg(long, value_name = "URL")]
    latchkey: Option<Address>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Kind {
    Nginx,
    Caddy,
    Haproxy,
    Envoy,
    Traefik,
}

impl Kind {
    fn template(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("nginx.conf"),
            Self::Caddy => include_str!("Caddyfile"),
            Self::Haproxy => include_str!("haproxy.cfg"),
            Self::Envoy => include_str!("envoy.yaml"),
            Self::Traefik => include_str!("traefik.yaml"),
        }
    }
}

/// A server that a proxy reaches without TLS: a host and a port.
#[derive(Clone, Debug)]
struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "must be http://, a host and a port, such as http://127.0.0.1:8080";
        let url = Url::parse(text).map_err(|_| WANTED)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        match (url.scheme(), url.host_str(), url.port_or_known_default()) {
            ("http", Some(host), Some(port)) if bare => Ok(Self { host: host.to_owned(), port }),
            _ => Err(WANTED),
        }
    }
}

impl Address {
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Returns the configuration for an app.
///
/// # Errors
/// One line that says what is missing.
pub(super) fn configuration(mut config: Config, app: &Application, typed: &Proxy) -> anyhow::Result<String> {
    let hosts = app.hosts();
    let Some(first) = hosts.first() else {
        anyhow::bail!("{} stands behind no proxy yet: `latchkey app edit {} --host HOST`", app.name, app.name);
    };
    let latchkey = match &typed.latchkey {
        Some(address) => address.clone(),
        None => format!("http://{}", config.reached_at()).parse().map_err(anyhow::Error::msg)?,
    };
    let Some(site) = config.recall_public_url() else {
        anyhow::bail!("LATCHKEY_PUBLIC_URL must be given, because no server has started with this data folder yet");
    };
    let https = site.is_https();
    let port = first.as_str().split_once(':').map_or(if https { "443" } else { "80" }, |(_, port)| port);
    let each = |made: &dyn Fn(&str, &str) -> String, between: &str| {
        hosts.iter().map(|host| made(host.name(), host.as_str())).collect::<Vec<_>>().join(between)
    };
    let scheme = if https { "" } else { "http://" };
    let values = [
        ("@COOKIE@", if https { FORWARD } else { FORWARD_ON_HTTP }.to_owned()),
        ("@VERIFY@", urls::VERIFY.to_owned()),
        ("@PORT@", port.to_owned()),
        ("@NAME@", first.name().to_owned()),
        ("@NAMES@", each(&|name, _| name.to_owned(), " ")),
        ("@SITES@", each(&|_, host| format!("{scheme}{host}"), ", ")),
        ("@DOMAINS@", each(&|name, _| format!("\"{name}\", \"{name}:{port}\""), ", ")),
        ("@RULE@", each(&|name, _| format!("Host(`{name}`)"), " || ")),
        ("@ID@", id(&app.name)),
        ("@LATCHKEY@", format!("http://{}", latchkey.authority())),
        ("@LATCHKEY_ADDRESS@", latchkey.authority()),
        ("@LATCHKEY_HOST@", latchkey.host.clone()),
        ("@LATCHKEY_PORT@", latchkey.port.to_string()),
        ("@UPSTREAM@", format!("http://{}", typed.upstream.authority())),
        ("@UPSTREAM_ADDRESS@", typed.upstream.authority()),
        ("@UPSTREAM_HOST@", typed.upstream.host.clone()),
        ("@UPSTREAM_PORT@", typed.upstream.port.to_string()),
        // Last, so that no name is replaced in it. It has no line breaks, and stands in comments only.
        ("@APP@", app.name.clone()),
    ];
    let text = lines(typed.kind.template(), https);
    Ok(values.iter().fold(text, |text, (name, value)| text.replace(name, value)))
}

/// Returns the lines of a template: those for all sites, and those for the scheme of this one.
fn lines(template: &str, https: bool) -> String {
    let (ours, theirs) = if https { ("@https", "@http") } else { ("@http", "@https") };
    let mut text = String::new();
    for line in template.lines() {
        let line = match line.strip_prefix(ours) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest,
            _ if line == theirs || line.starts_with(&format!("{theirs} ")) => continue,
            _ => line,
        };
        let _ = writeln!(text, "{line}"); // a String takes all
    }
    text
}

/// Returns a name for the app that every configuration takes.
fn id(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "app".to_owned() } else { plain.to_owned() }
}
