//! TLS: the certificates that are trusted, and the one that the client shows.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::RequestError;
use crate::hosts::ClientCertificate;

/// Adds the certificates of a PEM text.
pub(super) fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), RequestError> {
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let setup = RequestError::Setup { what: "an extra certificate" };
        let Ok(certificate) = certificate else { return Err(setup) };
        if roots.add(certificate).is_err() {
            return Err(setup);
        }
    }
    Ok(())
}

/// Returns the configuration of connections. If they are `unchecked`, any certificate will do.
pub(crate) fn config(
    roots: RootCertStore,
    unchecked: bool,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, RequestError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| RequestError::Setup { what: "TLS" })?;
    let builder = match unchecked {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider))),
        false => builder.with_root_certificates(roots),
    };
    let Some(ClientCertificate { chain, key }) = certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let setup = || RequestError::Setup { what: "the client certificate" };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| setup())?;
    builder.with_client_auth_cert(chain.map_err(|_| setup())?, key).map_err(|_| setup())
}

/// Accepts any certificate, for registries that the user named.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
