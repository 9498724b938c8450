//! TLS without a proxy: the certificate and its key in two PEM files, which are read again when they change.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{info, warn};

use crate::secret::refuse_open;

/// The two files, and what was in them when they were last valid.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    last_valid: Mutex<TlsAcceptor>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn open(cert: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        let last_valid = Mutex::new(read(cert, key)?);
        Ok(Arc::new(Self { cert: cert.to_owned(), key: key.to_owned(), last_valid }))
    }

    /// Returns the acceptor for a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.last_valid.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for renewed files, without end. When they are not valid, it says so once and goes on using the old ones.
    pub async fn renew(self: Arc<Self>, every: Duration) {
        let mut seen = self.stamps();
        let mut tick = tokio::time::interval(every);
        loop {
            tick.tick().await;
            let stamps = self.stamps();
            if stamps == seen {
                continue;
            }
            seen = stamps;
            match read(&self.cert, &self.key) {
                Ok(renewed) => {
                    *self.last_valid.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
                    info!("the TLS files have changed: new connections get the new certificate");
                }
                Err(why) => warn!("{why:#}; the certificate from before stays in use"),
            }
        }
    }

    fn stamps(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|file| fs::metadata(file).and_then(|about| about.modified()).ok())
    }
}

fn read(cert: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let named = |setting: &str, file: &Path| format!("{setting}: {}", file.display());
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.with_context(|| named("LATCHKEY_TLS_CERT", cert))?;
    ensure!(!chain.is_empty(), "{}: no certificate in it", named("LATCHKEY_TLS_CERT", cert));
    // Another user of this machine who can read the key can pretend to be the site.
    let file = File::open(key).and_then(|file| refuse_open(&file, key).map(|()| file));
    let file = file.with_context(|| named("LATCHKEY_TLS_KEY", key))?;
    let private = PrivateKeyDer::from_pem_reader(file).with_context(|| named("LATCHKEY_TLS_KEY", key))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair = CertifiedKey::from_der(chain, private, &provider).map_err(|why| match why {
        rustls::Error::InconsistentKeys(_) => {
            anyhow::anyhow!("{}: not the key of LATCHKEY_TLS_CERT", named("LATCHKEY_TLS_KEY", key))
        }
        why => anyhow::anyhow!("LATCHKEY_TLS_CERT, LATCHKEY_TLS_KEY: {why}"),
    })?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(pair));
    let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
    // A client that comes again brings what the server would have to remember otherwise, sealed with a key that changes every six
    // hours (RFC 8446, 2.2; RFC 5077). The library's memory holds 256 clients, so a crowd would make all shake hands anew.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}
