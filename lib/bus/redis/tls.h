/* tls.h - private to lib/bus: TLS on a connection to a Redis or a sentinel. */
#ifndef WEIR_BUS_TLS_H
#define WEIR_BUS_TLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#define TLS_WHY 200
/* Verifies the certificate against the system's authorities (OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR count) and the host's name, which may be an
 * address. False: why says what is wrong; the connection is the caller's to free. */
bool bus_tls_start(redisContext *, const char *name, char why[TLS_WHY]);

#endif
