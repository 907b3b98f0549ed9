"""Tables of mixed columns: `lamina.tabular` beside trees and other nets."""
