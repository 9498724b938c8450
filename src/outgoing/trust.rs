//! Whom this machine trusts, and what is wrong with the certificate of a server.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use anyhow::Context;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use crate::locale::Locale;

/// The last second of the year 9999, in Unix seconds. No certificate is valid then.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

/// The authorities that this machine trusts, or those in `SSL_CERT_FILE`.
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    connector: TlsConnector,
}

impl Trust {
    /// Reads the authorities.
    ///
    /// # Errors
    /// If there are none.
    pub fn of_this_machine() -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        // A file that cannot be read is no reason to stop, as long as others can.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.context("this machine trusts no authority; install the package ca-certificates")?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_webpki_verifier(verifier.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { verifier, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|why| why.to_string())?;
        self.connector.connect(name, stream).await.map_err(|why| reason(&why))
    }

    /// Returns when the first certificate of the chain expires. The verifier says it, asked about the end of time.
    pub(super) fn expires(&self, host: &str, stream: &TlsStream<TcpStream>) -> Option<OffsetDateTime> {
        let name = ServerName::try_from(host).ok()?;
        let (own, others) = stream.get_ref().1.peer_certificates()?.split_first()?;
        let then = UnixTime::since_unix_epoch(END_OF_TIME);
        match self.verifier.verify_server_cert(own, others, &name, &[], then) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => moment(not_after),
            _ => None,
        }
    }
}

fn moment(at: UnixTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_secs()).ok()?).ok()
}

/// Returns what is wrong with a handshake.
fn reason(why: &io::Error) -> String {
    let Some(error) = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return format!("no TLS handshake: {why}");
    };
    let day = |at: &UnixTime| moment(*at).map(|at| Locale::En.moment(&at)).unwrap_or_default();
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            format!("the certificate expired on {}; renew it", day(not_after))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            format!("the certificate is valid from {} only; is this machine's clock right?", day(not_before))
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate is of no authority that this machine trusts; give the whole chain (fullchain.pem), or \
             SSL_CERT_FILE=FILE for an authority of your own"
                .into()
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            // rustls writes `DnsName("example.com")`.
            let names: Vec<_> = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            format!("the certificate is for other names ({}); get one for this name", names.join(", "))
        }
        other => format!("no TLS handshake: {other}"),
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(…)")
    }
}
