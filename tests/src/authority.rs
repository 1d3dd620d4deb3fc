use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority for one test, which signs server and client certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Creates an authority with this common name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Writes the authority's certificate in PEM format; returns the path.
    pub fn write(&self, file: PathBuf) -> PathBuf {
        fs::write(&file, &self.pem).unwrap();
        file
    }

    /// Writes `ca.pem`, `head.pem` and `head.key` for a server of these names into a folder.
    pub fn write_server(&self, folder: &Path, names: &[&str]) {
        self.write_server_until(folder, names, 2999);
    }

    /// Like [`Authority::write_server`], with a certificate that is valid until the first day of
    /// `year`.
    pub fn write_server_until(&self, folder: &Path, names: &[&str], year: i32) {
        self.write(folder.join("ca.pem"));
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, &folder.join("head"));
    }

    /// Writes `NAME.pem` and `NAME.key` for a client, whose common name is `name`, into a folder.
    pub fn write_client(&self, folder: &Path, name: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &folder.join(name));
    }

    fn sign(&self, params: CertificateParams, name: &Path) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(name.with_extension("pem"), certificate.pem()).unwrap();
        fs::write(name.with_extension("key"), key.serialize_pem()).unwrap();
    }
}
