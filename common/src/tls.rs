//! TLS settings for AMQP and HTTP.

use std::{error::Error, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Additions to the system's certificate authorities for a TLS session: the contents of the files
/// of `--tls-ca`, `--tls-cert` and `--tls-key`.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// Certificates of additional authorities (PEM).
    pub ca: Option<String>,
    /// Client certificate (PEM) and its private key (PEM).
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// Whether no file is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }

    /// The configuration of a client that trusts `roots` and the authorities of the files.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn client_config(&self, mut roots: RootCertStore) -> Result<ClientConfig, String> {
        if let Some(ca) = &self.ca {
            for certificate in read_certificates(ca.as_bytes(), "--tls-ca")? {
                roots
                    .add(certificate)
                    .map_err(|error| unusable("--tls-ca", &error))?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Ok(config.with_no_client_auth());
        };
        let chain = read_certificates(certificate, "--tls-cert")?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable("--tls-key", &error))?;
        config
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable("--tls-cert or --tls-key", &error))
    }
}

/// The authorities that the system trusts. Certificates that cannot be parsed are skipped: some
/// systems contain such certificates.
pub(crate) fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn read_certificates(pem: &[u8], flag: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(flag, &error))
}

fn unusable(flag: &str, error: &dyn Error) -> String {
    format!("{flag} cannot be used: {error}")
}
