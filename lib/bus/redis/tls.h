/* tls.h - private to lib/bus: TLS on a connection to a Redis or a sentinel. */
#ifndef WEIR_BUS_TLS_H
#define WEIR_BUS_TLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#define TLS_WHY 200
/* Verifies the certificate against the system's authorities (OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR count) and the host's name, which may be an
 * address. False: why says what is wrong; the connection is the caller's to free. */
bool bus_tls_start(redisContext *, const char *name, char why[TLS_WHY]);
/* Before each use of such a connection: what else failed in this thread (a handshake, another program's part) waits in OpenSSL's queue of errors,
 * and would be taken for a failure of this one. */
void bus_tls_forget_errors(void);

#endif
