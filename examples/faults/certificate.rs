//! The certificates of the mail server.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Makes an authority, and a certificate for `localhost` that it signs.
pub fn make_certificate(dir: &Path) -> anyhow::Result<()> {
    fs::write(dir.join("empty.cnf"), "[req]\ndistinguished_name = name\n[name]\n")?;
    for (name, more) in [
        ("ca", "-subj /CN=ours -addext basicConstraints=critical,CA:TRUE"),
        ("server", "-subj /CN=localhost -addext subjectAltName=DNS:localhost -CA ca.pem -CAkey ca.key"),
    ] {
        let make = format!(
            "req -config empty.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key -out {name}.pem"
        );
        let made = Command::new("openssl").args(make.split(' ')).args(more.split(' ')).current_dir(dir).output();
        let made = made.context("openssl is needed: apt-get install openssl")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

/// Returns what speaks TLS with the certificate in the folder.
pub fn acceptor(dir: &Path) -> anyhow::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(dir.join("server.pem"))?;
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
