package nodenet

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// TestTunnels: a tunnel by which one machine is reached may be a pod's; one by which a
// network is, leads elsewhere, though no address of that network is on it.
func TestTunnels(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	for _, row := range []struct{ route, client, why string }{
		{"10.8.0.5/32", "10.8.0.5", ""},
		{"10.9.0.0/16", "10.9.0.5", "the network 10.9.0.0/16 is behind it"},
		{"fd96::5/128", "fd96::5", ""},
		{"fd96::/64", "fd96::5", "the network fd96::/64 is behind it"},
	} {
		runtime.LockOSThread() // and never unlocked: the thread ends with the test
		made, err := netns.New()
		if err != nil {
			t.Skipf("NOT TESTED: no network namespace: %v", err)
		}
		defer made.Close()
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "tun9"
		if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attributes, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
			t.Skipf("NOT TESTED: no tunnel: %v", err)
		}
		link, err := netlink.LinkByName("tun9")
		if err != nil {
			t.Fatal(err)
		}
		_, to, err := net.ParseCIDR(row.route)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []func() error{
			func() error {
				return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 8, 0, 6), Mask: net.CIDRMask(32, 32)}})
			},
			func() error {
				return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("fd95::6"), Mask: net.CIDRMask(128, 128)}})
			},
			func() error { return netlink.LinkSetUp(link) },
			func() error { return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to}) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		known, err := newLinks(nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		local := netip.MustParseAddr("10.8.0.6")
		if strings.Contains(row.client, ":") {
			local = netip.MustParseAddr("fd95::6")
		}
		if name, why := known.foreign(netip.MustParseAddr(row.client), local); name != "tun9" || why != row.why {
			t.Errorf("%s: by %q, because %q, want %q", row.route, name, why, row.why)
		}
	}
}
