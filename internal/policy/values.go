package policy

import (
	"encoding/base64"
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// order is how an ordered operator compares the request's value, on the left,
// with the policy's.
type order int

const (
	equal order = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// accepts turns the sign of a comparison into the operator's answer.
func (o order) accepts(sign int) bool {
	switch o {
	case equal:
		return sign == 0
	case less:
		return sign < 0
	case lessOrEqual:
		return sign <= 0
	case greater:
		return sign > 0
	case greaterOrEqual:
		return sign >= 0
	}
	return false
}

var decimal = lazyregexp.New(`^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$`)

// maxDecimal bounds the work of an exact comparison.
const maxDecimal = 256

// parseNumber reads a decimal exactly (spec iam-policy §3.2): sign, fraction and
// exponent are fine, hexadecimal, NaN and anything around it are not.
func parseNumber(text string) (*big.Rat, bool) {
	if len(text) > maxDecimal || !decimal.MatchString(text) {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

var (
	year        = lazyregexp.New(`^[0-9]{4}$`)
	epochNumber = lazyregexp.New(`^[+-]?[0-9]{1,19}(?:\.[0-9]+)?$`)
	isoDate     = lazyregexp.New(
		`^([0-9]{4})-([0-9]{2})(?:-([0-9]{2})(?:[Tt]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?)?)?$`,
	)
)

// parseDate reads an instant in milliseconds: the W3C profile of ISO 8601, or
// seconds since the epoch. Exactly four digits are a year (spec iam-policy §3.2
// and §11).
func parseDate(text string) (int64, bool) {
	switch {
	case year.MatchString(text):
		return parseISO(text + "-01")
	case epochNumber.MatchString(text):
		seconds, ok := parseNumber(text)
		if !ok {
			return 0, false
		}
		scaled := new(big.Rat).Mul(seconds, big.NewRat(1000, 1))
		milliseconds := new(big.Int).Div(scaled.Num(), scaled.Denom())
		switch {
		case milliseconds.IsInt64():
			return milliseconds.Int64(), true
		case milliseconds.Sign() < 0:
			return math.MinInt64, true
		}
		return math.MaxInt64, true
	}
	return parseISO(text)
}

// storedDate is the form in which IAM accepts a date when a policy is written:
// ISO 8601, or a whole number of seconds from 0 to 9223372036854775807 (spec
// iam-policy §1.5 row 3).
func storedDate(text string) bool {
	if !epochNumber.MatchString(text) {
		return true // parseDate has looked at it
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return err == nil && seconds >= 0 && text[0] != '+'
}

func parseISO(text string) (int64, bool) {
	parts := isoDate.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	layout, canonical := "2006-01-02T15:04:05.000", parts[1]+"-"+parts[2]+"-"+or(
		parts[3],
		"01",
	)+"T"+or(
		parts[4],
		"00",
	)+":"+or(
		parts[5],
		"00",
	)+":"+or(
		parts[6],
		"00",
	)+"."+(parts[7] + "000")[:3]
	if zone := strings.ToUpper(parts[8]); zone != "" && zone != "Z" {
		layout, canonical = layout+"-07:00", canonical+zone
	}
	instant, err := time.Parse(layout, canonical)
	return instant.UnixMilli(), err == nil
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// parseRange reads an address or CIDR range of a policy. IPv4 may have leading
// zeros and host bits; an IPv6 range with host bits contains nothing, and one in
// dotted spelling is refused, so these do not parse (spec iam-policy §1.5, §3.2).
func parseRange(text string) (netip.Prefix, bool) {
	address, length, hasLength := strings.Cut(text, "/")
	ip, ok := parseAddress(address)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := ip.BitLen()
	if hasLength {
		if ip.Is4() {
			length = strings.TrimPrefix(length, "+")
		} else if strings.Contains(address, ".") {
			return netip.Prefix{}, false
		}
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits {
			return netip.Prefix{}, false
		}
		bits = int(n)
	}
	prefix := netip.PrefixFrom(ip, bits)
	if ip.Is6() && prefix.Masked() != prefix {
		return netip.Prefix{}, false
	}
	return prefix.Masked(), true
}

// parseAddress keeps the family an address is written in.
func parseAddress(text string) (netip.Addr, bool) {
	if octets := strings.Split(text, "."); len(octets) == 4 && !strings.Contains(text, ":") {
		var four [4]byte
		for i, octet := range octets {
			n, err := strconv.ParseUint(octet, 10, 8)
			if err != nil || len(octet) > 4 {
				return netip.Addr{}, false
			}
			four[i] = byte(n)
		}
		return netip.AddrFrom4(four), true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		ip, err = netip.ParseAddr(oddIPv6(text))
	}
	return ip, err == nil && ip.Zone() == ""
}

// oddIPv6 normalises two spellings that AWS accepts: a trailing colon is
// ignored, and one empty group at the start is zero.
func oddIPv6(text string) string {
	if strings.HasSuffix(text, ":") && !strings.HasSuffix(text, "::") {
		text = strings.TrimSuffix(text, ":")
	}
	if strings.HasPrefix(text, ":") && !strings.HasPrefix(text, "::") {
		text = "0" + text
	}
	return text
}

// parseBinary reads strict base64 with padding.
func parseBinary(text string) (string, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return "", false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	return string(decoded), err == nil
}

// typed is a policy value of an operator that compares neither texts nor
// patterns, parsed once. valid is false when it has the wrong form.
type typed struct {
	valid  bool
	number *big.Rat
	date   int64
	prefix netip.Prefix
	binary string
}

func parseTyped(compare comparison, text string) typed {
	var t typed
	switch compare {
	case compareNumber:
		t.number, t.valid = parseNumber(text)
	case compareDate:
		t.date, t.valid = parseDate(text)
	case compareIP:
		t.prefix, t.valid = parseRange(text)
	case compareBinary:
		t.binary, t.valid = parseBinary(text)
	case compareString, compareFolded, compareLike, compareARN, compareBool, compareNull:
	}
	return t
}

// matchTyped compares a request value with all values of the policy. comparable
// is false if the operator and its negation are both false: for what is not an
// address. What is not a number or date equals nothing.
func (c *condition) matchTyped(got string) (matched, comparable bool) {
	request := parseTyped(c.op.compare, got)
	if c.op.compare == compareIP {
		ip, ok := parseAddress(got)
		if !ok {
			return false, false
		}
		request.prefix = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
	} else if !request.valid {
		return false, true
	}
	for i := range c.typed {
		if want := &c.typed[i]; want.valid && c.compareTyped(&request, want) {
			return true, true
		}
	}
	return false, true
}

func (c *condition) compareTyped(got, want *typed) bool {
	switch c.op.compare {
	case compareNumber:
		return c.op.order.accepts(got.number.Cmp(want.number))
	case compareDate:
		sign := 0
		if got.date != want.date {
			sign = 1
			if got.date < want.date {
				sign = -1
			}
		}
		return c.op.order.accepts(sign)
	case compareIP:
		return want.prefix.Contains(got.prefix.Addr())
	case compareBinary:
		return got.binary == want.binary
	case compareString, compareFolded, compareLike, compareARN, compareBool, compareNull:
	}
	return false
}
