/* certificate.c - X.509 certificates made by OpenSSL, as small as they can be. */
#include "support/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "certificate: cannot %s\n", what);
	abort();
}

/* Clients look for addresses there only, not in the common name. */
static void add_address(X509 *x509, const char *name)
{
	char words[80];
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
	if (!address)
		return;
	snprintf(words, sizeof words, "IP:%s", name);
	X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, words);
	must(names && X509_add_ext(x509, names, -1), "address it");
	X509_EXTENSION_free(names);
	ASN1_OCTET_STRING_free(address);
}

struct certificate certificate_make(const char *name, const struct certificate *issuer, int days)
{
	static long serial = 1;
	struct certificate made = { .x509 = X509_new(), .key = EVP_EC_gen("P-256") };
	X509_NAME *subject = X509_NAME_new();
	X509_EXTENSION *authority = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
	must(made.x509 && made.key && subject && authority, "make a key");
	must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0), "name it");
	must(X509_set_version(made.x509, 2) && ASN1_INTEGER_set(X509_get_serialNumber(made.x509), serial++), "number it");
	must(X509_gmtime_adj(X509_getm_notBefore(made.x509), -3600) && X509_gmtime_adj(X509_getm_notAfter(made.x509), 86400L * days), "date it");
	must(X509_set_subject_name(made.x509, subject) && X509_set_issuer_name(made.x509, issuer ? X509_get_subject_name(issuer->x509) : subject), "name it");
	must(X509_set_pubkey(made.x509, made.key) && X509_add_ext(made.x509, authority, -1), "fill it");
	add_address(made.x509, name);
	must(X509_sign(made.x509, issuer ? issuer->key : made.key, EVP_sha256()), "sign it");
	X509_EXTENSION_free(authority);
	X509_NAME_free(subject);
	return made;
}

static FILE *begin(const char *path, char ret_beside[256])
{
	snprintf(ret_beside, 256, "%s.new", path);
	FILE *file = fopen(ret_beside, "w");
	must(file != NULL, "write");
	return file;
}

static void end(FILE *file, const char *beside, const char *path)
{
	must(fclose(file) == 0 && rename(beside, path) == 0, "write");
}

void certificate_write(const struct certificate *c, const char *path)
{
	char beside[256];
	FILE *file = begin(path, beside);
	must(PEM_write_X509(file, c->x509), "write");
	end(file, beside, path);
}

void certificate_write_key(const struct certificate *c, const char *path, const char *passphrase)
{
	char beside[256];
	FILE *file = begin(path, beside);
	must(PEM_write_PrivateKey(file, c->key, passphrase ? EVP_aes_128_cbc() : NULL, (const unsigned char *)passphrase, passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
	     "write a key");
	end(file, beside, path);
}

void certificate_free(struct certificate *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
}
