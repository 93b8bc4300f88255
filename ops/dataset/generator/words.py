"""Word lists for generated rows: names, mail domains, phone prefixes, tiers, payment methods and banks."""

from __future__ import annotations

import unicodedata

FIRST_NAMES = tuple(
    """
    Ada Adam Agnieszka Aisha Alejandro Alice Amara Amélie Ana Anders Andrea Anna Antoine Anton Beatriz Ben Björn Camila
    Carlos Carmen Catherine Chen Chiara Chloé Clara Daniel David Diego Elena Elif Emil Emma Eva Fatima Felix Finn
    Francesca François Gabriel Giulia Grace Hana Hannah Hugo Ingrid Isabel Ivan Jack Jakub James Jan Jasmin Johanna John
    José Julia Julien Kaito Karin Katarzyna Kofi Laura Lea Leo Liam Lin Lucas Luis Lukas Magda Maja Marco Maria Marie
    Mateusz Max Maya Mehmet Mei Mia Michael Mila Mohammed Nadia Nia Nina Noah Nora Olga Oliver Olivia Omar Oscar Paolo
    Paul Pedro Petra Priya Rafael Raj Rosa Ruth Ryan Samuel Sara Sofia Søren Stefan Tariq Thomas Tom Tomáš Victoria
    William Xavier Yara Yuki Zofia Zoë
    """.split()  # noqa: SIM905  (a list literal would be twelve times as long)
)

LAST_NAMES = tuple(
    """
    Adeyemi Ahmed Almeida Andersen Andersson Barbosa Bauer Becker Bernard Bianchi Brown Carvalho Chen Clark Colombo
    Costa Davies Diaz Dubois Dvořák Esposito Evans Fernández Ferrari Fischer Fontaine Fournier García Giordano González
    Greco Hansen Hernández Hoffmann Horvat Huang Hughes Ito Jackson Jankowski Jensen Johansson Johnson Jones Kamiński
    Kaya Khan Kim Kobayashi Kowalski Kumar Larsen Laurent Lee Lefebvre Lewandowski Li López Martin Martínez Mazur Meyer
    Miller Moreau Moretti Müller Murphy Nagy Nakamura Nguyen Nielsen Novák Nowak O'Brien O'Connor Okafor Olsen Patel
    Pereira Pérez Petrov Popescu Ricci Richter Rizzo Roberts Rodríguez Romano Rossi Roux Sánchez Santos Sato Schmidt
    Schneider Schulz Silva Singh Smith Sørensen Suzuki Takahashi Tanaka Taylor Thomas Thompson Torres Tran Turner Walker
    Wang Weber White Williams Wilson Wiśniewski Wójcik Wood Wright Yamamoto Yılmaz Young Zhang Zieliński
    """.split()  # noqa: SIM905  (a list literal would be twelve times as long)
)

# Domains reserved for examples (RFC 2606), so that no e-mail can reach a real person.
MAIL_DOMAINS = ("example.com", "example.net", "example.org", "mail.example", "post.example", "inbox.example")

DIAL_PREFIXES = ("+1", "+33", "+34", "+39", "+44", "+45", "+48", "+49", "+55", "+81", "+90", "+91")

TIERS = ("bronze", "silver", "gold", "platinum")
TIER_WEIGHTS = (60, 25, 12, 3)

PAYMENT_METHODS = (
    "Visa credit",
    "Visa debit",
    "Mastercard credit",
    "Mastercard debit",
    "American Express",
    "Bank transfer",
    "Direct debit",
    "Instant transfer",
    "Digital wallet",
    "Instalments",
    "Gift card",
    "Cash on delivery",
)

BANKS = (
    "Alder Bank",
    "Banco del Puerto",
    "Banque du Nord",
    "Bergen Sparebank",
    "Cassa Adriatica",
    "City & County Bank",
    "Commerzhaus",
    "First Harbour Bank",
    "Kraków Bank",
    "Lakeside Credit Union",
    "Meridian Bank",
    "Nordlys Bank",
    "Old Mill Savings",
    "Rheinbank",
    "Sakura Trust",
    "Summit National Bank",
    "Tagus Banco",
    "Vltava Banka",
)

_ASCII = str.maketrans("ıłøŁØ", "iloLO", "'’-")


def mail_name(name: str) -> str:
    """Convert a name to lower-case ASCII letters, for use in an e-mail address."""
    plain = unicodedata.normalize("NFKD", name.translate(_ASCII))
    return plain.encode("ascii", "ignore").decode().lower()
