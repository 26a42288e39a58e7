/* jwt_tokens.h - keys and tokens made with PyJWT: {"iss":"https://issuer.example","aud":["other","weir"],"sub":"alice","exp":2000000000,
 * "nbf":1000000000,"scope":"read stream"}, signed with the RSA key r1 (2048 bits) and the P-256 key e1. Their private halves are gone. */
#ifndef TESTS_GATEWAY_JWT_TOKENS_H
#define TESTS_GATEWAY_JWT_TOKENS_H

#define KEY_SET \
	"{\"keys\": [{\"kty\": \"RSA\", \"kid\": \"r1\", \"use\": \"sig\", \"alg\": \"RS256\", \"n\": \"vzjh77B_58t08bEZ97r_MgN27qhhQOsmmQJU" \
	"ALktD7l3lXOe4JrLBK1up2hNk-AWQQ5r-AKz9GnKmaYIB1MxT8KLaV_p0efdidbaiDxxoFylz44NK8ZJNtCFxrCsUNLT0NliOfzsDjsThp-IEy" \
	"UfvnhtKZQuIyPzDWhXduba_qvAW-1k_ORuw5WdwBPm0VcayloMvkZubyWIbTbEHWtTB4_S1Esqde-cnuipWuOIHC5h63IM7ekuUfqOegb1z3ux" \
	"BqTBx83Vt-D350ZP1R8K7c9PaO_MlWdhWiNsKAh4yOjnobDDcv8d-OieqsUMlLRXMLOcaUa8omkFRadQjqhUUw\", \"e\": \"AQAB\"}, {\"kty\":" \
	" \"EC\", \"kid\": \"e1\", \"crv\": \"P-256\", \"x\": \"noVI2g2ozLflhHix0RTBa65jW_c-Vn3LpP4-9u3jLS8\", \"y\": \"NAYDZRqFKRGlNQoA" \
	"bVXYwVSkgUnw-d9tZ6_gkVodBU0\"}]}"
#define SMALL_KEY_SET \
	"{\"keys\": [{\"kty\": \"RSA\", \"kid\": \"small\", \"n\": \"5xUQggyIRwphdqwarFfJpTmerHlfaTSOu_mQLdKIMeQzXs0iuICnJgrrAbD-Z-7" \
	"wZQKCz9DtK27p5wSIr4UCrHpWR2PPUK9sBAWekbTSmbosbdi6T-MVe77iuy4HOCUDDexs-zvOVJrKbvWFRRAkpMXO9b3VuxwdrFyOvaGDlN8\"," \
	" \"e\": \"AQAB\"}]}"
#define RS_TOKEN \
	"eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjpbIm90aG" \
	"VyIiwid2VpciJdLCJzdWIiOiJhbGljZSIsImV4cCI6MjAwMDAwMDAwMCwibmJmIjoxMDAwMDAwMDAwLCJzY29wZSI6InJlYWQgc3RyZWFtIn0." \
	"QdlvSXjafhZw289LL6uiKm0bcJt8ORowGrwhlPZh5N3uqN2L681CSKPyTeUqRmS5pWWqgtNrd7CTwmfEGZRAG9V36LKRTDsXfBViy2eGaIzk14" \
	"__5iN16FNYylkeTMfRw3AahVDhMACAEjnFAja6TygT7xvinNpxg04zTvYlKe5HesZFTNtz-_jPJVh-hU8uK_gcQLOABnGQKnkXkP9jZJqfIf2s" \
	"cgsJIovJQc9M6ufPUcto_qF9NhvQx4-vh6j67F4Ciiomb9vlGoLXoCG3bkzWS4DZZyYZkZ5tfKOgfMbdNM91rDsB1DLBPSIoXzD0_UMHZyj2l8" \
	"hfylWzht7Vcw"
#define ES_TOKEN \
	"eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjpbIm90aG" \
	"VyIiwid2VpciJdLCJzdWIiOiJhbGljZSIsImV4cCI6MjAwMDAwMDAwMCwibmJmIjoxMDAwMDAwMDAwLCJzY29wZSI6InJlYWQgc3RyZWFtIn0." \
	"_V997ZRqTTuCPBOSDH5bBtkfrEXFrVyaskRYaLwrJXnZStJqr7fIZqsQGR4B90H4auqpfF7bYhuI6aGy-6z8Uw"
#define RS_TOKEN_WITHOUT_KID \
	"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjpbIm90aGVyIiwid2VpciJdL" \
	"CJzdWIiOiJhbGljZSIsImV4cCI6MjAwMDAwMDAwMCwibmJmIjoxMDAwMDAwMDAwLCJzY29wZSI6InJlYWQgc3RyZWFtIn0.SHPM44yis_pY7ZR" \
	"Xz0YRGvIPdiXu_aNEPov3YDFDYJtJTHL-JXQPD9XtmB_bpNjFEiGnxc4L2GNXdeU-oyRmerDcaoKeLDR_OHc6kyWkUNGZeTL5DzkSSnuEY2jUL" \
	"jRBUw9TBp0tbjVsulDJioVvxwSGbiUl_H3kNK2NuJs1LuCtkMtJGyQ30Jv6Byn2isj_5Og7NxfqjGodLe7yDxvACI8bxMm8iLV-0sXOgf7AKk7" \
	"DcfoCkZvg0-zwuKUwLGfsX7MYQkAb3wc6ckQOoCBPU3f_Tb_3-aWJlpSkUzgfkyiZgxYXVRF-ggP3CCacrTHkR021CDE2skpKn7cJGpvkAQ"

#endif
