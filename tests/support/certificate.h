/* certificate.h - certificates for tests: an authority and what it signs, P-256, as PEM files. */
#ifndef TESTS_SUPPORT_CERTIFICATE_H
#define TESTS_SUPPORT_CERTIFICATE_H

#include <openssl/types.h>

struct certificate {
	X509 *x509;
	EVP_PKEY *key;
};
/* name: of its owner; where it is an address, also as such (subjectAltName). issuer NULL: an authority, signed by itself. Good from an hour ago for so many days. Aborts the test program when it cannot. Files take the place of
 * others whole. */
struct certificate certificate_make(const char *name, const struct certificate *issuer, int days);
void certificate_write(const struct certificate *, const char *path);                             /* the certificate */
void certificate_write_key(const struct certificate *, const char *path, const char *passphrase); /* NULL: none */
void certificate_free(struct certificate *);

#endif
