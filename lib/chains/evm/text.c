/* text.c - accounts and assets as the API writes them: "0x…" in lower case, "native", "0x…:id". */
#include "chains/evm/evm.h"

#include "wire/hex.h"

#include <string.h>

int evm_account_parse(const struct chain *chain, const char *text, uint8_t ret[32], size_t *ret_size, struct error *err)
{
	(void)chain;
	if (hex_to_bytes(text, strnlen(text, 64), ret, 20) != 0)
		return error_set(err, WEIR_INVALID, "not an address: 0x and 40 hex digits are expected");
	*ret_size = 20;
	return 0;
}

void evm_account_print(const struct chain *chain, struct bytes account, struct buf *out)
{
	(void)chain;
	char text[67];
	buf_add(out, text, hex_from_bytes(account.data, account.size > 32 ? 32 : account.size, text));
}

int evm_asset_parse(const struct chain *chain, const char *text, struct chain_asset *ret, struct error *err)
{
	(void)chain;
	memset(ret, 0, sizeof *ret);
	if (strcmp(text, "native") == 0) {
		ret->standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE;
		return 0;
	}
	size_t length = strnlen(text, 160);
	const char *colon = memchr(text, ':', length);
	size_t address = colon ? (size_t)(colon - text) : length;
	if (hex_to_bytes(text, address, ret->contract, 20) != 0)
		return error_set(err, WEIR_INVALID, "not an asset: \"native\", a contract address, or address:id is expected");
	ret->contract_size = 20;
	ret->standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC20;
	if (!colon)
		return 0;
	ret->has_token_id = true;
	ret->standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_UNSPECIFIED; /* ERC-721 or ERC-1155: the ledger knows */
	if (u256_from_dec(colon + 1, length - address - 1, &ret->token_id) != 0)
		return error_set(err, WEIR_INVALID, "not a token id: a decimal number below 2^256 is expected behind ':'");
	return 0;
}

void evm_asset_print(const struct chain *chain, const struct chain_asset *asset, struct buf *out)
{
	if (asset->contract_size == 0) {
		buf_add_str(out, "native");
		return;
	}
	evm_account_print(chain, (struct bytes){ asset->contract, asset->contract_size }, out);
	if (!asset->has_token_id)
		return;
	char id[U256_DEC_MAX];
	buf_add_byte(out, ':');
	buf_add(out, id, u256_to_dec(asset->token_id, id));
}

bool evm_reconcilable(const struct chain *chain, struct bytes account, const struct chain_asset *asset, const char **ret_reason)
{
	(void)chain;
	static const uint8_t zero[20];
	/* balanceOf(0) and ownerOf of burned tokens revert in the usual implementations */
	if (asset->contract_size > 0 && account.size == 20 && memcmp(account.data, zero, 20) == 0) {
		*ret_reason = "zero_address";
		return false;
	}
	return true;
}
