//! TLS for calls to Crisp: rustls, one provider, the machine's certificate authorities.

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use url::Url;

use super::ClientError;

/// Makes ring the process's cryptography provider, unless there is one already. Calling it again is harmless.
pub fn install_tls() {
    // A second installation is refused; the first one stays, which is what we want.
    drop(ring::default_provider().install_default());
}

/// The TLS side of a client. A plain-text API needs no authorities, so a sandbox works on a machine without any.
pub fn config(base_url: &Url, proxy: Option<&Url>) -> Result<ClientConfig, ClientError> {
    let mut authorities = RootCertStore::empty();
    if base_url.scheme() == "https" || proxy.is_some_and(|proxy| proxy.scheme() == "https") {
        // Some stores hold certificates that nobody can parse; those alone are left out.
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if authorities.is_empty() {
            return Err(ClientError::NoAuthorities);
        }
    }
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
