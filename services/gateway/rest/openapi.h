/* openapi.h - the API's own document, ready to be given: as JSON and as MessagePack, each in every coding. */
#ifndef WEIR_GATEWAY_REST_OPENAPI_H
#define WEIR_GATEWAY_REST_OPENAPI_H

struct openapi;
struct openapi *openapi_new(void);
void openapi_free(struct openapi **);

#endif
