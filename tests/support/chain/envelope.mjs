// Transactions that the node cannot sign by itself: blobs (type 3) and set-code (type 4), signed here.

import { Transaction, decodeRlp, encodeRlp, sha256, concat, dataSlice } from 'ethers';

// A blob whose polynomial is constant needs no KZG library: its commitment is constant * G1, and all its proofs are the point at infinity.
const INFINITY = `0xc0${'00'.repeat(47)}`;
const GENERATOR = '0x97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb';
const ELEMENTS = 4096;
const CELLS = 128; // proofs per blob, EIP-7594
const BLOBS = [
  { data: `0x${'00'.repeat(32 * ELEMENTS)}`, commitment: INFINITY },
  { data: `0x${`${'00'.repeat(31)}01`.repeat(ELEMENTS)}`, commitment: GENERATOR },
];
const versionedHash = ({ commitment }) => concat(['0x01', dataSlice(sha256(commitment), 1)]);

/** tx: { to, data, value, gas, nonce, maxFeePerGas, maxPriorityFeePerGas, chainId, type, blobs | authorizations } -> raw transaction */
export function signEnvelope(wallet, tx) {
  const fields = {
    type: tx.type, chainId: tx.chainId, nonce: tx.nonce, to: tx.to, data: tx.data ?? '0x', value: tx.value, gasLimit: tx.gas,
    maxFeePerGas: tx.maxFeePerGas, maxPriorityFeePerGas: tx.maxPriorityFeePerGas, accessList: [],
  };
  return tx.type === 3 ? signBlobs(wallet, fields, tx.blobs) : signed(wallet, { ...fields, authorizationList: tx.authorizations });
}

function signed(wallet, fields) {
  const transaction = Transaction.from(fields);
  transaction.signature = wallet.signingKey.sign(transaction.unsignedHash);
  return transaction.serialized;
}

function signBlobs(wallet, fields, count) {
  const blobs = BLOBS.slice(0, count);
  const payload = signed(wallet, { ...fields, maxFeePerBlobGas: 10n ** 12n, blobVersionedHashes: blobs.map(versionedHash) });
  const body = decodeRlp(dataSlice(payload, 1));
  const proofs = Array(blobs.length * CELLS).fill(INFINITY);
  return concat(['0x03', encodeRlp([body, '0x01', blobs.map((b) => b.data), blobs.map((b) => b.commitment), proofs])]);
}

/** { authority wallet, to, nonce } -> signed authorization for ethers' authorizationList */
export const authorize = (wallet, { to, nonce, chainId }) => wallet.authorizeSync({ address: to, nonce, chainId });
