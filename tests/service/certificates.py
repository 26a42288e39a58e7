"""Certificates for tests: an authority and what it signs, P-256, as PEM files; and what clients need to speak TLS with them."""
import datetime
import ipaddress
import os
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = self.named(name)
        self.path = self.folder / f"{name}.pem"
        self.write(self.path, self.signed(self.subject, self.key.public_key(), None).public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def named(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    @staticmethod
    def write(path, data):
        """Whole, in the place of what was there."""
        beside = path.with_suffix(".new")
        beside.write_bytes(data)
        os.replace(beside, path)

    def signed(self, subject, public, address, days=30):
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject).public_key(public).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=days))
                   .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True))
        if address:
            names = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def make(self, name, file=None):
        """(certificate, key): paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        paths = self.folder / f"{file or name}.pem", self.folder / f"{file or name}.key"
        self.write(paths[1], key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.write(paths[0], self.signed(self.named(name), key.public_key(), "127.0.0.1").public_bytes(serialization.Encoding.PEM))
        return paths

    def client(self, pair=None):
        """What a client speaks TLS by; pair: the certificate it shows."""
        context = ssl.create_default_context(cafile=self.path)
        if pair:
            context.load_cert_chain(*pair)
        return context
